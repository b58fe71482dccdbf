"""Fits the weights of candidates' features by which syndromes are ranked, and measures the first candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from runners.models.tcm import naming, ranking, tables
from runners.models.tcm.differentiation import Evidence
from runners.models.tcm.ranking import FITS, Ranking, fits, membership, shared
from training.tcm.syndrome_data import Case, Entry

PENALTY: Final = 0.02
"""Penalty of the squared weights of standardised features."""


@dataclass(frozen=True)
class Choice:
    """C candidates with their features [C, len(FITS)], and which of them are right."""

    features: Tensor
    right: tuple[bool, ...]

    def probabilities(self, weights: Sequence[float]) -> Tensor:
        """Return the softmax over the candidates, [C], clamped away from 0 and 1."""
        softmax = ranking.probabilities(self.features.numpy(), np.asarray(weights, dtype=np.float32))
        return torch.from_numpy(softmax).clamp(ranking.MIN_SHARE, 1 - ranking.MIN_SHARE)


def among_options(evidence: Evidence, phrases: Sequence[str], case: Case) -> Choice:
    """Return the choice among a case record's ten syndromes."""
    member = membership([naming.elements_of(name) for name in case.options])
    features = fits(evidence, member, shared(case.options, phrases))
    return Choice(torch.from_numpy(features), tuple(name in case.right for name in case.options))


def among_catalogue(evidence: Evidence, phrases: Sequence[str], entry: Entry) -> Choice:
    """Return the choice from the catalogue. Right is the entry's syndrome, or if not listed, the likest by elements."""
    catalogue = tables.syndromes()
    own = naming.syndrome_of(entry.syndrome)
    likeness = [naming.likeness(syndrome.elements, entry.elements) for syndrome in catalogue]
    right = tuple(syndrome is own if own else likeness[row] == max(likeness) for row, syndrome in enumerate(catalogue))
    member = membership([syndrome.elements for syndrome in catalogue])
    features = fits(evidence, member, shared([syndrome.names.zh for syndrome in catalogue], phrases))
    return Choice(torch.from_numpy(features), right)


def fit(choices: Sequence[Choice]) -> list[float]:
    """Fit the weights of ``FITS`` by a conditional logit: maximum likelihood of the right candidates."""
    deviation = torch.cat([choice.features for choice in choices]).std(dim=0).clamp(min=1e-6)
    weights = torch.zeros(len(FITS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = []
        for choice in choices:
            log_probabilities = torch.log_softmax(choice.features / deviation @ weights, dim=0)
            losses.append(-torch.logsumexp(log_probabilities[torch.tensor(choice.right)], dim=0))
        loss = torch.stack(losses).mean() + PENALTY * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return [float(weight) for weight in weights.detach() / deviation]


@dataclass(frozen=True)
class First:
    """The first candidate: its probability, whether it is right, and how its elements match the right ones."""

    probability: float
    right: bool
    among_five: bool
    exact: bool
    precision: float
    recall: float
    likeness: float


def first_of_catalogue(choice: Choice, rank: Ranking, entry: Entry) -> First:
    """Compare the catalogue's first syndrome with the textbook's."""
    probabilities = rank(choice.features.numpy())
    order = np.argsort(-probabilities, kind="stable").tolist()
    elements = tables.syndromes()[order[0]].elements
    return First(
        float(probabilities[order[0]]),
        choice.right[order[0]],
        any(choice.right[row] for row in order[:5]),
        elements == entry.elements,
        len(elements & entry.elements) / max(1, len(elements)),
        len(elements & entry.elements) / max(1, len(entry.elements)),
        naming.likeness(elements, entry.elements),
    )


def first_of_options(choice: Choice, rank: Ranking) -> tuple[float, bool]:
    """Return the probability of the first of a case's ten syndromes, and whether it is right."""
    probabilities = rank(choice.features.numpy())
    best = int(probabilities.argmax())
    return float(probabilities[best]), choice.right[best]
