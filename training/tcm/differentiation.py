"""The differentiation network and its fit: logistic regression, penalised for leaving the knowledge table."""

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
class FitConfig:
    """Hyperparameters. Penalties are of squared weights, added to a loss that is summed over samples and elements."""

    steps: int = 60
    terms_penalty: float = 2.0  # of the distance from the knowledge table
    grams_penalty: float = 2.0
    case_weight: float = 0.5  # of a case record, whose elements are read from names; of a textbook entry it is 1


@dataclass(frozen=True)
class Sample:
    """A patient's phrases and the right elements, with the weight of the sample in the loss."""

    phrases: tuple[str, ...]
    elements: frozenset[str]
    weight: float = 1.0


class Differentiation(nn.Module):
    """Logistic regression on the features of phrases, with each phrase's contribution as an output."""

    bias: Tensor

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weights = nn.Embedding(len(weights), weights.shape[1], padding_idx=PADDING, _weight=weights, _freeze=True)
        self.register_buffer("bias", bias)

    def forward(self, features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return contributions [P, E] and logits [N, E] of features int64 [P, L] and phrase shares, items [N, P]."""
        contributions = self.weights(features).sum(dim=1)
        return contributions, items @ contributions + self.bias


def knowledge_weights() -> Tensor:
    """Return the symptom table's weights, [symptoms, E]."""
    names = [element.names.zh for element in tables.elements()]
    rows = [[symptom.weights.get(name, 0) for name in names] for symptom in tables.symptoms()]
    return torch.tensor(rows, dtype=torch.float32)


def known_grams(samples: Iterable[Sample]) -> list[str]:
    """Return the character pairs that two or more patients have."""
    counts: dict[str, int] = {}
    for sample in samples:
        for gram in set().union(*map(grams, sample.phrases)):
            counts[gram] = counts.get(gram, 0) + 1
    return sorted(gram for gram, count in counts.items() if count > 1)


def features_of(samples: Sequence[Sample], lexicon: Lexicon) -> Features:
    """Return the features that can be learned from these samples."""
    return Features(lexicon, known_grams(samples))


def design_matrix(samples: Sequence[Sample], features: Features) -> Tensor:
    """Return each sample's features, [N, F]: the sum over its known phrases, weighted by their share."""
    array = np.zeros((len(samples), features.count), dtype=np.float32)
    for row, sample in enumerate(samples):
        known = [columns for columns in map(features.of, sample.phrases) if columns]
        for columns in known:
            array[row, columns] += share_of(len(known))
    return torch.from_numpy(array)


def targets(samples: Sequence[Sample]) -> Tensor:
    """Return the right elements as ones and zeros, [N, E]."""
    names = [element.names.zh for element in tables.elements()]
    return torch.tensor([[name in sample.elements for name in names] for sample in samples], dtype=torch.float32)


def fit(samples: Sequence[Sample], features: Features, config: FitConfig) -> Differentiation:
    """Fit the network by penalised maximum likelihood (L-BFGS on the full batch)."""
    inputs, right = design_matrix(samples, features), targets(samples)
    weight = torch.tensor([sample.weight for sample in samples])[:, None]
    table, idf = knowledge_weights(), _inverse_document_frequency(inputs)
    terms = len(table)
    scale = torch.tensor(0.5, requires_grad=True)
    deviation = torch.zeros(features.count, right.shape[1], requires_grad=True)
    base = ((weight * right).sum(dim=0) + 0.05) / (weight.sum() + 0.1)
    bias = torch.logit(base).requires_grad_()

    def weights() -> Tensor:
        known = torch.cat([torch.zeros(1, right.shape[1]), scale * table])
        return torch.cat([known + deviation[: terms + 1], deviation[terms + 1 :] * idf[terms + 1 :, None]])

    optimizer = torch.optim.LBFGS(
        [deviation, bias, scale], max_iter=config.steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = F.binary_cross_entropy_with_logits(inputs @ weights() + bias, right, reduction="none")
        loss = (losses * weight).sum()
        loss = loss + config.terms_penalty * deviation[: terms + 1].square().sum()
        loss = loss + config.grams_penalty * deviation[terms + 1 :].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return Differentiation(weights().detach(), bias.detach())


def _inverse_document_frequency(inputs: Tensor) -> Tensor:
    """Return the inverse document frequency of each feature in nats, [F]."""
    frequency = (inputs > 0).sum(dim=0)
    return torch.log((len(inputs) + 1) / (frequency + 1)).clamp(min=0)


def logits_of(network: Differentiation, inputs: Tensor) -> Tensor:
    """Return the logits [N, E] of a design matrix [N, F]."""
    logits: Tensor = inputs @ network.weights.weight + network.bias
    return logits


def with_calibration(network: Differentiation, slope: float, offset: float) -> Differentiation:
    """Return the network with ``slope * logit + offset`` folded into its weights."""
    return Differentiation(network.weights.weight * slope, network.bias * slope + offset)
