"""Ranks syndromes by a softmax over candidates, from a few numbers that measure how each fits the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runners.models.tcm import tables
from runners.models.tcm.differentiation import Evidence

FITS: Final = ("sum", "mean", "least", "most", "sum over the prior", "size", "shared characters")
"""Names of the numbers, from the logits of a candidate's elements and from its name; training weighs them."""

LEAST: Final = 1e-6
"""Softmax share below which a candidate counts as this share."""

Floats = NDArray[np.float32]


def membership(candidates: Sequence[frozenset[str]]) -> Floats:
    """Which elements each of C candidates has, [C, E]."""
    names = [element.names.zh for element in tables.elements()]
    return np.array([[name in elements for name in names] for elements in candidates], dtype=np.float32).reshape(
        -1, len(names)
    )


def shared(names: Sequence[str], texts: Sequence[str]) -> Floats:
    """The share of each name's characters that a patient's texts have, too: [C]."""
    characters = set("".join(texts))
    return np.array([len(characters & set(name)) / max(1, len(set(name))) for name in names], dtype=np.float32)


def fits(evidence: Evidence, member: Floats, shared: Floats) -> Floats:
    """How each of C candidates fits, [C, len(FITS)]: by its elements, ``member`` [C, E], and its name, ``shared`` [C].

    What is said of elements is zero where a candidate has none.
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
    """The softmax over candidates by their ``fits`` [C, len(FITS)]: [C]."""
    scores = numbers @ weights
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum(), dtype=np.float32)


@dataclass(frozen=True)
class Ranking:
    """How candidates are weighed, and the logistic slope and offset that make a softmax's shares true."""

    weights: tuple[float, ...]  # of FITS
    slope: float
    offset: float

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Ranking:
        """Of a model file's facts."""
        return cls(tuple(map(float, facts["weights"])), float(facts["slope"]), float(facts["offset"]))

    def __call__(self, numbers: Floats) -> Floats:
        """How likely each candidate is to be right, [C]; several may be, so the sum need not be one."""
        shares = probabilities(numbers, np.asarray(self.weights, dtype=np.float32)).clip(LEAST, 1 - LEAST)
        logits = self.slope * np.log(shares / (1 - shares)) + self.offset
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
