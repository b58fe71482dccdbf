"""Syndrome-element differentiation (证素辨证): from symptoms to locations and natures of disease, as probabilities.

After Zhu Wenfeng, "证素辨证学" (2008): each symptom has a weight for or against each element, and syndromes consist of
elements. The weights are those of a logistic regression that starts from the knowledge table, so that the contribution
of each symptom is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import tables
from runners.models.tcm.features import Features, padded

Floats = NDArray[np.float32]

IMPOSSIBLE: Final = {"male": ("胞宫",), "female": ("精室",)}
"""Locations that a patient of that gender does not have."""
IMPOSSIBLE_LOGIT: Final = -12.0
"""Logit of such a location."""
MAX_BATCH_PHRASES: Final = 256
"""Phrases in the network at a time; each takes some 20 kB while they are summed."""


@dataclass(frozen=True)
class Evidence:
    """The evidence for one patient's E elements from P phrases.

    ``logits`` [E] are calibrated: their logistic function is a probability. ``prior`` [E] is their mean over patients.
    The sum of ``contributions`` [P, E] over the phrases is the logits less the network's bias.
    """

    logits: Floats
    prior: Floats
    contributions: Floats

    @property
    def probabilities(self) -> Floats:
        """The probability that each element is part of the syndrome, [E]."""
        return np.asarray(1 / (1 + np.exp(-self.logits)), dtype=np.float32)


class Differentiator:
    """The differentiation network of a model file, for batches of patients."""

    def __init__(self, stored: OnnxFile, features: Features) -> None:
        self._network, self._features = stored, features
        self._prior = np.asarray(stored.facts["prior"], dtype=np.float32)
        self._column = {element.names.zh: column for column, element in enumerate(tables.elements())}

    def __call__(self, patients: Sequence[Sequence[str]], genders: Sequence[str | None]) -> list[Evidence]:
        """Return the evidence from each patient's phrases, in order. An unknown phrase contributes nothing."""
        evidence: list[Evidence] = []
        for start, end in batches([len(phrases) for phrases in patients]):
            evidence += self._evidence_of(patients[start:end], genders[start:end])
        return evidence

    def _evidence_of(self, patients: Sequence[Sequence[str]], genders: Sequence[str | None]) -> list[Evidence]:
        rows = [self._features.of(phrase) for phrases in patients for phrase in phrases]
        items = shares([len(phrases) for phrases in patients])
        contributions, logits = self._network(features=padded(rows), items=items)
        starts = np.cumsum([0, *map(len, patients)])
        scaled = [
            contributions[start : start + len(phrases)] * np.float32(share_of(len(phrases)))
            for start, phrases in zip(starts, patients, strict=False)
        ]
        return [self._evidence(*row) for row in zip(logits, scaled, genders, strict=True)]

    def _evidence(self, logits: Floats, contributions: Floats, gender: str | None) -> Evidence:
        possible = logits.copy()
        possible[[self._column[name] for name in IMPOSSIBLE.get(gender or "", ())]] = IMPOSSIBLE_LOGIT
        return Evidence(possible, self._prior, contributions)


def batches(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return ranges of patients, given their numbers of phrases: at most ``MAX_BATCH_PHRASES``, or one patient."""
    ranges: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(counts) + 1):
        if end == len(counts) or sum(counts[start : end + 1]) > MAX_BATCH_PHRASES:
            ranges.append((start, end))
            start = end
    return ranges


def share_of(phrases: int) -> float:
    """Return the weight of each of ``phrases``: a long record must not be more certain by its length alone."""
    return 1 / sqrt(max(1, phrases))


def shares(counts: Sequence[int]) -> Floats:
    """Return the weight of each phrase for each patient, [N, P]; 0 for phrases of other patients."""
    items = np.zeros((len(counts), sum(counts)), dtype=np.float32)
    start = 0
    for row, count in enumerate(counts):
        items[row, start : start + count] = share_of(count)
        start += count
    return items
