"""The differentiation network, and how it is fitted: logistic regression that begins at the knowledge table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners.models.tcm import tables
from runners.models.tcm.differentiation import share_of
from runners.models.tcm.features import PADDING, Features, grams
from runners.models.tcm.lexicon import Lexicon


@dataclass(frozen=True)
class Fitting:
    """The numbers of a fit. Penalties are of squared weights, beside a loss summed over samples and elements."""

    steps: int = 60
    terms_penalty: float = 2.0  # for leaving the knowledge table
    grams_penalty: float = 2.0
    case_weight: float = 0.5  # of a case record beside a textbook entry: its elements are read from names


@dataclass(frozen=True)
class Sample:
    """A patient's phrases and the elements that are right, with the weight of getting them right."""

    phrases: tuple[str, ...]
    elements: frozenset[str]
    weight: float = 1.0


class Differentiation(nn.Module):
    """Numbers of phrases in, what each phrase contributes and each patient's logits out."""

    bias: Tensor

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weights = nn.Embedding(len(weights), weights.shape[1], padding_idx=PADDING, _weight=weights, _freeze=True)
        self.register_buffer("bias", bias)

    def forward(self, features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """features int64 [P, L], items [N, P] -> contributions [P, E], logits [N, E]."""
        contributions = self.weights(features).sum(dim=1)
        return contributions, items @ contributions + self.bias


def knowledge() -> Tensor:
    """The symptom table's weights, [symptoms, E]."""
    names = [element.names.zh for element in tables.elements()]
    rows = [[symptom.weights.get(name, 0) for name in names] for symptom in tables.symptoms()]
    return torch.tensor(rows, dtype=torch.float32)


def known_grams(samples: Iterable[Sample]) -> list[str]:
    """The character pairs that two or more patients have."""
    counts: dict[str, int] = {}
    for sample in samples:
        for gram in set().union(*map(grams, sample.phrases)):
            counts[gram] = counts.get(gram, 0) + 1
    return sorted(gram for gram, count in counts.items() if count > 1)


def features_of(samples: Sequence[Sample], lexicon: Lexicon) -> Features:
    """The features that these samples teach something about."""
    return Features(lexicon, known_grams(samples))


def matrix(samples: Sequence[Sample], features: Features) -> Tensor:
    """What each sample has of each feature, [N, F]: a sum over the phrases that are known, each by its share."""
    array = np.zeros((len(samples), features.count), dtype=np.float32)
    for row, sample in enumerate(samples):
        known = [numbers for numbers in map(features.of, sample.phrases) if numbers]
        for numbers in known:
            array[row, numbers] += share_of(len(known))
    return torch.from_numpy(array)


def targets(samples: Sequence[Sample]) -> Tensor:
    """Which elements are right, [N, E]."""
    names = [element.names.zh for element in tables.elements()]
    return torch.tensor([[name in sample.elements for name in names] for sample in samples], dtype=torch.float32)


def fit(samples: Sequence[Sample], features: Features, numbers: Fitting) -> Differentiation:
    """The network with the best penalised likelihood of the samples (L-BFGS over all of them)."""
    inputs, right = matrix(samples, features), targets(samples)
    weight = torch.tensor([sample.weight for sample in samples])[:, None]
    start, rarity = knowledge(), _rarity(inputs)
    terms = len(start)
    scale = torch.tensor(0.5, requires_grad=True)
    moved = torch.zeros(features.count, right.shape[1], requires_grad=True)
    base = ((weight * right).sum(dim=0) + 0.05) / (weight.sum() + 0.1)
    bias = torch.logit(base).requires_grad_()

    def weights() -> Tensor:
        known = torch.cat([torch.zeros(1, right.shape[1]), scale * start])
        return torch.cat([known + moved[: terms + 1], moved[terms + 1 :] * rarity[terms + 1 :, None]])

    optimizer = torch.optim.LBFGS(
        [moved, bias, scale], max_iter=numbers.steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = F.binary_cross_entropy_with_logits(inputs @ weights() + bias, right, reduction="none")
        loss = (each * weight).sum()
        loss = loss + numbers.terms_penalty * moved[: terms + 1].square().sum()
        loss = loss + numbers.grams_penalty * moved[terms + 1 :].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return Differentiation(weights().detach(), bias.detach())


def _rarity(inputs: Tensor) -> Tensor:
    """How much a feature says by being rare, in nats: its inverse document frequency, [F]."""
    having = (inputs > 0).sum(dim=0)
    return torch.log((len(inputs) + 1) / (having + 1)).clamp(min=0)


def logits_of(network: Differentiation, inputs: Tensor) -> Tensor:
    """The logits of samples by their ``matrix``, [N, E]."""
    logits: Tensor = inputs @ network.weights.weight + network.bias
    return logits


def calibrated(network: Differentiation, slope: float, offset: float) -> Differentiation:
    """The same network with ``slope * logit + offset`` folded into its weights."""
    return Differentiation(network.weights.weight * slope, network.bias * slope + offset)
