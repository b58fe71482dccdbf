"""The networks of the treatment model: an ensemble over sets of symptoms, and its blend with other evidence."""

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
    """Hyperparameters of an ensemble member."""

    hidden: int = 512
    dropout: float = 0.6
    epochs: int = 20
    batch: int = 256
    rate: float = 1e-3  # maximum learning rate
    weight_decay: float = 0.1


@dataclass(frozen=True)
class Blend:
    """Weights of the ensemble, the ridge regression and the counts; chosen on a validation split."""

    ridge_penalty: float = 5.0
    ridge_share: float = 0.0  # every other share tried, up to 0.3, was worse
    lone_prior: float = 160.0  # weight of the ensemble beside the counts of a single symptom, in prescriptions


class Member(nn.Module):
    """An ensemble member: symptoms to herbs by a hidden layer and a skip connection.

    ``symptom_features`` [S, K] describes the symptoms, so that similar symptoms share weights.
    """

    symptom_features: Tensor

    def __init__(self, symptom_features: Tensor, herbs: int, learning: Learning) -> None:
        super().__init__()
        self.register_buffer("symptom_features", symptom_features)
        self.by_symptom = nn.Linear(len(symptom_features), learning.hidden)
        self.by_feature = nn.Linear(symptom_features.shape[1], learning.hidden, bias=False)
        self.dropout = nn.Dropout(learning.dropout)
        self.out = nn.Linear(learning.hidden, herbs)
        self.skip = nn.Linear(len(symptom_features), herbs)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)

    def forward(self, symptoms: Tensor) -> Tensor:
        """Return logits [N, H] of sets of symptoms as ones and zeros [N, S]."""
        scaled = scaled_sets(symptoms)
        hidden = torch.relu(self.by_symptom(scaled) + self.by_feature(scaled @ self.symptom_features))
        logits: Tensor = self.out(self.dropout(hidden)) + self.skip(scaled)
        return logits


def scaled_sets(symptoms: Tensor) -> Tensor:
    """Scale rows of ones and zeros [N, S] to unit length; a row of zeros stays."""
    return symptoms / symptoms.sum(dim=1, keepdim=True).clamp(min=1).sqrt()


class HerbModel(nn.Module):
    """The served network: the members' mean logits, blended with ridge regression and single-symptom counts.

    The members' layers are concatenated. Matrices are stored in float16, which halves the file.
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

    def __init__(self, members: Sequence[Member], data: Prescriptions, blend: Blend) -> None:
        super().__init__()
        with torch.no_grad():
            inward = [each.by_symptom.weight.T + each.symptom_features @ each.by_feature.weight.T for each in members]
            self._keep("inward", torch.cat(inward, dim=1))
            self._keep("inward_bias", torch.cat([each.by_symptom.bias for each in members]))
            self._keep("out", torch.cat([each.out.weight.T for each in members]) / len(members))
            self._keep("past", torch.stack([each.skip.weight.T for each in members]).mean(dim=0))
            self._keep("bias", torch.stack([each.out.bias + each.skip.bias for each in members]).mean(dim=0))
        self.ridge_share = blend.ridge_share
        if self.ridge_share:
            weights, offset = herb_measures.ridge(data.symptoms, data.herbs, blend.ridge_penalty)
            self._keep("ridge", torch.from_numpy(weights))
            self._keep("ridge_offset", torch.from_numpy(offset))
        counts, seen = herb_measures.single_symptom_counts(data.symptoms, data.herbs)
        self._keep("alone", torch.from_numpy(counts / np.maximum(1, seen)[:, None]))
        trust = seen / np.maximum(1e-9, seen + blend.lone_prior)  # 0 without a prescription
        self.register_buffer("alone_trust", torch.from_numpy(trust).float())

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.half() if value.ndim > 1 else value.float())

    def forward(self, symptoms: Tensor) -> Tensor:
        """Return the probability [N, H] of each herb for sets of symptoms as ones and zeros [N, S]."""
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


def fit(data: Prescriptions, symptom_features: Tensor, learning: Learning, seed: int) -> Member:
    """Fit a member. Prescriptions for the same symptoms are merged into one sample, with the mean of their herbs.

    The expected gradient is that of single prescriptions, with much less variance.
    """
    torch.manual_seed(seed)
    symptoms, herbs, counts = _by_set(data)
    member = Member(symptom_features, herbs.shape[1], learning)
    with torch.no_grad():
        member.out.bias.copy_(torch.logit(torch.from_numpy(data.herbs).mean(dim=0).clamp(1e-5, 1 - 1e-5)))
    steps = learning.epochs * max(1, len(data) // learning.batch)
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


def _by_set(data: Prescriptions) -> tuple[Tensor, Tensor, Tensor]:
    """Return the U unique sets of symptoms [U, S], the mean of their herbs [U, H], and their prescriptions [U]."""
    sets, set_of, counts = np.unique(data.symptoms, axis=0, return_inverse=True, return_counts=True)
    herbs = np.zeros((len(sets), data.herbs.shape[1]), dtype=np.float32)
    np.add.at(herbs, set_of, data.herbs)
    herbs /= counts[:, None]
    return torch.from_numpy(sets), torch.from_numpy(herbs), torch.from_numpy(counts).float()


def feature_sets(names: Sequence[str]) -> list[Tensor]:
    """Return three sets of features of symptoms, [S, K] each: characters of their names, their elements, and both."""
    characters, elements = torch.from_numpy(_characters(names)), torch.from_numpy(_elements(names))
    return [characters, elements, torch.cat([characters, elements], dim=1)]


def _characters(names: Sequence[str]) -> Floats:
    """Return the n-grams of one to three characters that two or more names have, [S, K], each row of unit length."""
    bounded = [f"^{name}$" for name in names]
    grams = [
        {name[start : start + length] for length in (1, 2, 3) for start in range(len(name) - length + 1)} - {"^", "$"}
        for name in bounded
    ]
    shared = sorted(gram for gram in set().union(*grams) if sum(gram in own for own in grams) > 1)
    array = np.array([[gram in own for gram in shared] for own in grams], dtype=np.float32)
    return np.asarray(array / np.sqrt(np.maximum(1, array.sum(axis=1, keepdims=True))), dtype=np.float32)


def _elements(names: Sequence[str]) -> Floats:
    """Return the weights of elements in the symptom table for each name, [S, E]."""
    lexicon, elements = symptom_lexicon(), [element.names.zh for element in tables.elements()]
    symptoms = [[tables.symptoms()[row] for row in lexicon.inside(simplified(name))] for name in names]
    return np.array(
        [[sum(symptom.weights.get(element, 0) for symptom in found) / 6 for element in elements] for found in symptoms],
        dtype=np.float32,
    )
