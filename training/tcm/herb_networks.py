"""The networks of the treatment model: members that learn sets of symptoms, and their blend with other evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from runners.models.tcm import tables
from runners.models.tcm.features import symptom_lexicon
from runners.models.tcm.script import simplified
from training.tcm import herb_measures
from training.tcm.herb_data import Floats, Prescriptions


@dataclass(frozen=True)
class Learning:
    """The numbers of a member."""

    hidden: int = 512
    dropout: float = 0.6
    epochs: int = 20
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 0.1


@dataclass(frozen=True)
class Blend:
    """How members, regression and counts are put together; chosen on a validation part."""

    ridge_penalty: float = 5.0
    ridge_share: float = 0.0  # tried up to 0.3, and worse at every one
    lone_prior: float = 160.0  # prescriptions that the networks' word is worth beside those for a symptom alone


class Member(nn.Module):
    """Symptoms to herbs by one hidden layer and one step past it; ``side`` [S, K] tells which symptoms are alike."""

    side: Tensor

    def __init__(self, side: Tensor, herbs: int, learning: Learning) -> None:
        super().__init__()
        self.register_buffer("side", side)
        self.own = nn.Linear(len(side), learning.hidden)
        self.alike = nn.Linear(side.shape[1], learning.hidden, bias=False)
        self.drop = nn.Dropout(learning.dropout)
        self.out = nn.Linear(learning.hidden, herbs)
        self.past = nn.Linear(len(side), herbs)
        nn.init.zeros_(self.past.weight)
        nn.init.zeros_(self.past.bias)

    def forward(self, symptoms: Tensor) -> Tensor:
        """Sets as rows of ones [N, S] -> logits [N, herbs]."""
        scaled = scaled_sets(symptoms)
        hidden = torch.relu(self.own(scaled) + self.alike(scaled @ self.side))
        logits: Tensor = self.out(self.drop(hidden)) + self.past(scaled)
        return logits


def scaled_sets(symptoms: Tensor) -> Tensor:
    """Rows of ones, [N, S], at length one; a row of zeros stays."""
    return symptoms / symptoms.sum(dim=1, keepdim=True).clamp(min=1).sqrt()


class Herbs(nn.Module):
    """Members in one matrix each, the mean of their logits; ridge regression; counts of symptoms that stood alone.

    Matrices are kept in float16, which halves the file.
    """

    inward: Tensor
    inward_bias: Tensor
    out: Tensor
    past: Tensor
    bias: Tensor
    ridge: Tensor
    ridge_offset: Tensor
    alone: Tensor
    alone_trust: Tensor

    def __init__(self, members: Sequence[Member], known: Prescriptions, blend: Blend) -> None:
        super().__init__()
        with torch.no_grad():
            inward = [one.own.weight.T + one.side @ one.alike.weight.T for one in members]
            self._keep("inward", torch.cat(inward, dim=1))
            self._keep("inward_bias", torch.cat([one.own.bias for one in members]))
            self._keep("out", torch.cat([one.out.weight.T for one in members]) / len(members))
            self._keep("past", torch.stack([one.past.weight.T for one in members]).mean(dim=0))
            self._keep("bias", torch.stack([one.out.bias + one.past.bias for one in members]).mean(dim=0))
        self.ridge_share = blend.ridge_share
        if self.ridge_share:
            weights, offset = herb_measures.ridge(known.symptoms, known.herbs, blend.ridge_penalty)
            self._keep("ridge", torch.from_numpy(weights))
            self._keep("ridge_offset", torch.from_numpy(offset))
        counts, seen = herb_measures.lone(known.symptoms, known.herbs)
        self._keep("alone", torch.from_numpy(counts / np.maximum(1, seen)[:, None]))
        trust = seen / np.maximum(1e-9, seen + blend.lone_prior)  # a symptom that never stood alone is trusted nothing
        self.register_buffer("alone_trust", torch.from_numpy(trust).float())

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.half() if value.ndim > 1 else value.float())

    def forward(self, symptoms: Tensor) -> Tensor:
        """Sets as rows of ones [N, S] -> how likely a prescription has each herb, [N, herbs]."""
        scaled = scaled_sets(symptoms)
        hidden = torch.relu(scaled @ self.inward.float() + self.inward_bias)
        logits = hidden @ self.out.float() + scaled @ self.past.float() + self.bias
        learned = torch.sigmoid(logits)
        if self.ridge_share:
            ridge = symptoms @ self.ridge.float() + self.ridge_offset
            learned = ((1 - self.ridge_share) * learned + self.ridge_share * ridge).clamp(0, 1)
        single = (symptoms.sum(dim=1, keepdim=True) == 1).float()
        trust = single * (symptoms @ self.alone_trust)[:, None]
        return (1 - trust) * learned + trust * (symptoms @ self.alone.float())


def fit(known: Prescriptions, side: Tensor, learning: Learning, seed: int) -> Member:
    """A member that learned these prescriptions: the same sets of symptoms at once, with the mean of their herbs.

    The expected gradient is that of single prescriptions, and it varies much less.
    """
    torch.manual_seed(seed)
    symptoms, herbs, counts = _by_set(known)
    member = Member(side, herbs.shape[1], learning)
    with torch.no_grad():
        member.out.bias.copy_(torch.logit(torch.from_numpy(known.herbs).mean(dim=0).clamp(1e-5, 1 - 1e-5)))
    steps = learning.epochs * max(1, len(known) // learning.batch)
    optimizer = torch.optim.AdamW(member.parameters(), learning.rate, weight_decay=learning.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning.rate, total_steps=steps)
    for _ in tqdm(range(steps), desc=f"member {seed}", unit="step", leave=False):
        rows = torch.multinomial(counts, learning.batch, replacement=True)
        loss = F.binary_cross_entropy_with_logits(member(symptoms[rows]), herbs[rows], reduction="sum") / len(rows)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return member.eval()


def _by_set(known: Prescriptions) -> tuple[Tensor, Tensor, Tensor]:
    """The different sets of symptoms [U, S], the mean herbs of each [U, H], and how many prescriptions it has [U]."""
    sets, which, counts = np.unique(known.symptoms, axis=0, return_inverse=True, return_counts=True)
    herbs = np.zeros((len(sets), known.herbs.shape[1]), dtype=np.float32)
    np.add.at(herbs, which, known.herbs)
    herbs /= counts[:, None]
    return torch.from_numpy(sets), torch.from_numpy(herbs), torch.from_numpy(counts).float()


def sides(names: Sequence[str]) -> list[Tensor]:
    """What makes symptoms alike, [S, K] each: characters of their names, their elements, and both."""
    characters, elements = torch.from_numpy(_characters(names)), torch.from_numpy(_elements(names))
    return [characters, elements, torch.cat([characters, elements], dim=1)]


def _characters(names: Sequence[str]) -> Floats:
    """Runs of one to three characters that two or more names have, each name at length one."""
    marked = [f"^{name}$" for name in names]
    runs = [
        {name[start : start + length] for length in (1, 2, 3) for start in range(len(name) - length + 1)} - {"^", "$"}
        for name in marked
    ]
    shared = sorted(run for run in set().union(*runs) if sum(run in one for one in runs) > 1)
    array = np.array([[run in one for run in shared] for one in runs], dtype=np.float32)
    return np.asarray(array / np.sqrt(np.maximum(1, array.sum(axis=1, keepdims=True))), dtype=np.float32)


def _elements(names: Sequence[str]) -> Floats:
    """Return the symptom table's entry for each name."""
    lexicon, columns = symptom_lexicon(), [one.names.zh for one in tables.elements()]
    rows = [[tables.symptoms()[row] for row in lexicon.inside(simplified(name))] for name in names]
    return np.array(
        [[sum(one.weights.get(column, 0) for one in found) / 6 for column in columns] for found in rows],
        dtype=np.float32,
    )
