"""Fits how a candidate's numbers are weighed when syndromes are ranked, and measures the ranking."""

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

PENALTY: Final = 0.02  # of the squared weights of standardised numbers


@dataclass(frozen=True)
class Choice:
    """Candidates with their numbers [C, len(FITS)], and which of them are right."""

    numbers: Tensor
    right: tuple[bool, ...]

    def likely(self, weights: Sequence[float]) -> Tensor:
        """The softmax over the candidates, [C], away from 0 and 1."""
        said = ranking.probabilities(self.numbers.numpy(), np.asarray(weights, dtype=np.float32))
        return torch.from_numpy(said).clamp(ranking.MIN_SHARE, 1 - ranking.MIN_SHARE)


def among_options(evidence: Evidence, phrases: Sequence[str], case: Case) -> Choice:
    """A case record's ten syndromes."""
    member = membership([naming.elements_of(name) for name in case.options])
    numbers = fits(evidence, member, shared(case.options, phrases))
    return Choice(torch.from_numpy(numbers), tuple(name in case.right for name in case.options))


def among_catalogue(evidence: Evidence, phrases: Sequence[str], entry: Entry) -> Choice:
    """The whole catalogue; right is the entry's own syndrome, or where that is not in it, the likest by elements."""
    catalogue = tables.syndromes()
    own = naming.syndrome_of(entry.syndrome)
    alike = [naming.likeness(one.elements, entry.elements) for one in catalogue]
    right = tuple(one is own if own else alike[row] == max(alike) for row, one in enumerate(catalogue))
    member = membership([one.elements for one in catalogue])
    return Choice(torch.from_numpy(fits(evidence, member, shared([one.names.zh for one in catalogue], phrases))), right)


def fit(choices: Sequence[Choice]) -> list[float]:
    """The weights of ``FITS`` under which the right candidates are likeliest: a conditional logit."""
    spread = torch.cat([one.numbers for one in choices]).std(dim=0).clamp(min=1e-6)
    weights = torch.zeros(len(FITS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = []
        for one in choices:
            likely = torch.log_softmax(one.numbers / spread @ weights, dim=0)
            losses.append(-torch.logsumexp(likely[torch.tensor(one.right)], dim=0))
        loss = torch.stack(losses).mean() + PENALTY * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return [float(one) for one in weights.detach() / spread]


@dataclass(frozen=True)
class First:
    """The first candidate: its probability, whether it is right, and how its elements fit the truth."""

    said: float
    right: bool
    among_five: bool
    exact: bool
    precision: float
    recall: float
    likeness: float


def first_of_catalogue(choice: Choice, rank: Ranking, entry: Entry) -> First:
    """The first syndrome of the catalogue against a textbook's own."""
    likely = rank(choice.numbers.numpy())
    order = np.argsort(-likely, kind="stable").tolist()
    said = tables.syndromes()[order[0]].elements
    return First(
        float(likely[order[0]]),
        choice.right[order[0]],
        any(choice.right[row] for row in order[:5]),
        said == entry.elements,
        len(said & entry.elements) / max(1, len(said)),
        len(said & entry.elements) / max(1, len(entry.elements)),
        naming.likeness(said, entry.elements),
    )


def first_of_options(choice: Choice, rank: Ranking) -> tuple[float, bool]:
    """How likely the first of a case's ten syndromes was said to be, and whether it is right."""
    likely = rank(choice.numbers.numpy())
    best = int(likely.argmax())
    return float(likely[best]), choice.right[best]
