"""Ranks syndromes by a softmax over the candidates, from a few features of how each fits the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runners.models.tcm import tables
from runners.models.tcm.differentiation import Evidence

FITS: Final = ("sum", "mean", "least", "most", "sum over the prior", "size", "shared characters")
"""Names of the features, from the logits of a candidate's elements and from its name; training finds the weights."""

MIN_SHARE: Final = 1e-6
"""Smallest softmax share of a candidate; smaller ones are raised to it, so that the logit stays finite."""

Floats = NDArray[np.float32]


def membership(candidates: Sequence[frozenset[str]]) -> Floats:
    """Return 1 for each of E elements that each of C candidates has, else 0: [C, E]."""
    names = [element.names.zh for element in tables.elements()]
    return np.array([[name in elements for name in names] for elements in candidates], dtype=np.float32).reshape(
        -1, len(names)
    )


def shared(names: Sequence[str], texts: Sequence[str]) -> Floats:
    """Return the share of each name's characters that occur in a patient's texts: [C]."""
    characters = set("".join(texts))
    return np.array([len(characters & set(name)) / max(1, len(set(name))) for name in names], dtype=np.float32)


def fits(evidence: Evidence, member: Floats, shared: Floats) -> Floats:
    """Return the features of C candidates, [C, len(FITS)], from their ``member`` [C, E] and ``shared`` [C].

    The features of its elements are zero for a candidate without elements.
    """
    size = member.sum(axis=1)
    none = size == 0
    total = member @ evidence.logits
    least = np.where(member > 0, evidence.logits, np.inf).min(axis=1)
    most = np.where(member > 0, evidence.logits, -np.inf).max(axis=1)
    columns = (
        total,
        total / np.maximum(1, size),
        np.where(none, 0, least),
        np.where(none, 0, most),
        member @ (evidence.logits - evidence.prior),
        size,
        shared,
    )
    return np.stack(columns, axis=1).astype(np.float32)


def probabilities(numbers: Floats, weights: Floats) -> Floats:
    """Return the softmax over candidates by their ``fits``: [C, len(FITS)] -> [C]."""
    scores = numbers @ weights
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum(), dtype=np.float32)


@dataclass(frozen=True)
class Ranking:
    """The weights of the features, and the slope and offset that calibrate the softmax's shares (Platt scaling)."""

    weights: tuple[float, ...]  # in the order of FITS
    slope: float
    offset: float

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Ranking:
        """Return the ranking in a model file's facts."""
        return cls(tuple(map(float, facts["weights"])), float(facts["slope"]), float(facts["offset"]))

    def __call__(self, numbers: Floats) -> Floats:
        """Return the probability that each candidate is right, [C]; several may be, so the sum need not be 1."""
        shares = probabilities(numbers, np.asarray(self.weights, dtype=np.float32)).clip(MIN_SHARE, 1 - MIN_SHARE)
        logits = self.slope * np.log(shares / (1 - shares)) + self.offset
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
