"""The classes of the satellite model: four land covers in three languages, and "none of these". Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["fr", "en", "zh"]

CLASSES: Final = ("forest", "sea", "desert", "cloudy")
"""The four land covers, in the order of the network's first outputs."""

UNKNOWN: Final = len(CLASSES)
"""Index of the fifth output: a scene of no known land cover."""

NO_SCENE: Final = (0.0, 0.0, 0.0, 0.0, 1.0)
"""Probabilities of an empty picture: certainly no land cover. Its label has no meaning."""

LABELS: Final[dict[Language, tuple[str, str, str, str]]] = {
    "fr": ("forêt", "mer", "désert", "nuageux"),
    "en": CLASSES,
    "zh": ("森林", "海洋", "沙漠", "多云"),
}


@dataclass(frozen=True)
class Verdict:
    """The classification of one picture; the fields are those of the documented response."""

    label: str
    confidence: float
    probabilities: dict[str, float]
    rejected: bool


def judge(probabilities: Sequence[float], threshold: float, language: Language) -> Verdict:
    """Return the verdict for five probabilities: the four land covers, then "none of these".

    The result has the first four, which sum to 1 less the fifth; so ``confidence``, the largest of them, is low for a
    scene of another kind. A scene below ``threshold`` is rejected.
    """
    shown = dict(zip(LABELS[language], probabilities, strict=False))
    label = max(shown, key=lambda name: shown[name])
    return Verdict(label, shown[label], shown, rejected=shown[label] < threshold)
