"""What the satellite model may say: four land covers in three languages, and "none of these". Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["fr", "en", "zh"]

CLASSES: Final = ("forest", "sea", "desert", "cloudy")
"""The four covers, in the order of the network's first outputs."""

UNKNOWN: Final = len(CLASSES)
"""The index of the fifth output: a scene that is none of the four."""

NO_SCENE: Final = (0.0, 0.0, 0.0, 0.0, 1.0)
"""The probabilities of a picture that shows nothing: certainly none of the four. Its label means nothing."""

LABELS: Final[dict[Language, tuple[str, str, str, str]]] = {
    "fr": ("forêt", "mer", "désert", "nuageux"),
    "en": CLASSES,
    "zh": ("森林", "海洋", "沙漠", "多云"),
}


@dataclass(frozen=True)
class Verdict:
    """What the network says of one picture; the fields are the documented answer's."""

    label: str
    confidence: float
    probabilities: dict[str, float]
    rejected: bool


def judge(probabilities: Sequence[float], threshold: float, language: Language) -> Verdict:
    """The verdict of five probabilities (the four covers, then "none of these").

    The four that are shown sum to one less the probability that the scene is none of them, so ``confidence``,
    the largest of the four, is low for a foreign scene. Below ``threshold`` the scene is rejected.
    """
    shown = dict(zip(LABELS[language], probabilities, strict=False))
    label = max(shown, key=lambda name: shown[name])
    return Verdict(label, shown[label], shown, rejected=shown[label] < threshold)
