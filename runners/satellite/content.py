"""Whether a picture shows anything of the earth that a network could judge: not one colour, no data, or a page of text.

A network trained on scenes has an answer to everything: black is sea to it, white is cloud. What holds no scene is
found by measuring. The limits lie beyond all of 25,603 satellite pictures: docs/models/satellite.md has the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageChops

FLAT: Final = 0.25
"""Standard deviation, of 255, below which a picture is of one colour. The calmest real sea has 0.74."""

FLAT_LAND: Final = 0.9
"""The same for pictures that are not bluish as water is. The haziest real desert has 1.0."""

BLUISH: Final = 3.0
"""How much bluer than red calm water is at least: 3.1 in the 1,832 calmest pictures of it."""

NOISE: Final = 3.0
"""Standard deviation below which a picture that is not bluish may be noise on one colour."""

UNRELATED: Final = 0.1
"""Correlation of neighbouring pixels below which there is nothing but noise. The least real one is 0.15."""

CORRELATED_SIDE: Final = 512
"""Most pixels of a side of the middle part in which neighbours are compared."""

ONE_VALUE: Final = 0.95
"""Share of pixels with the same value from which the rest is a margin. The calmest real sea has 0.68."""

DRAWN: Final = 0.75
"""Share of pixels of exactly one colour from which edges are strokes drawn on it."""

LEVELS: Final = np.arange(256.0)

PAPER: Final = 190
"""Least brightness of paper."""

STROKE: Final = 40
"""Difference of neighbours at the edge of a stroke."""

INK: Final = 48
"""Least difference between ink and what it lies on."""

STROKES_OF_INK: Final = 0.25
"""Edges for each pixel of ink: letters are all edge, while islands, clouds and lakes have insides."""


@dataclass(frozen=True)
class Ground:
    """What most of a picture is, from its brightness."""

    level: int
    tight: float
    """Share of pixels within 2 levels of it."""
    wide: float
    """Share of pixels within 16 levels."""
    ink: float
    """Share of pixels at least ``INK`` levels away."""


def is_empty(image: Image.Image) -> bool:
    """Whether an RGB picture holds no scene. Takes about as long as resizing it."""
    shares = np.array(image.histogram(), np.float64).reshape(3, 256) / (image.width * image.height)
    means = shares @ LEVELS
    spread = float(np.sqrt(np.maximum(shares @ LEVELS**2 - means**2, 0)).max())
    bluish = means[2] - means[0] >= BLUISH
    if spread < (FLAT if bluish else FLAT_LAND):
        return True
    if spread < NOISE and not bluish and _correlation(image) < UNRELATED:
        return True
    same = float(shares.max(axis=1).min())
    return (same >= ONE_VALUE and not bluish) or _is_page(image, same)


def _correlation(image: Image.Image) -> float:
    """How much a pixel tells of its right neighbour, in the channel where that is most."""
    width, height = min(image.width, CORRELATED_SIDE), min(image.height, CORRELATED_SIDE)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    part = np.asarray(image.crop((left, top, left + width, top + height)), np.float32)
    if width < 2:
        return 0.0
    part = part - part.mean(axis=(0, 1))
    together = (part[:, 1:] * part[:, :-1]).mean(axis=(0, 1))
    return float((together / np.maximum(part.var(axis=(0, 1)), 1e-6)).max())


def _is_page(image: Image.Image, same: float) -> bool:
    """Whether a picture is thin strokes on an even ground; ``same`` is its share of pixels of exactly one colour."""
    grey = image.convert("L")
    ground = _ground(grey)
    paper = ground.level >= PAPER and ground.wide >= 0.5 and ground.tight >= 0.3
    if not paper and same < DRAWN:
        return False
    strokes = _strokes(grey)
    on_paper = paper and strokes >= (0.004 if ground.tight >= 0.5 else 0.015)
    return strokes >= STROKES_OF_INK * ground.ink and (on_paper or (same >= DRAWN and strokes >= 0.01))


def _ground(grey: Image.Image) -> Ground:
    shares = np.array(grey.histogram(), np.float64) / (grey.width * grey.height)
    level = int(np.convolve(shares, np.ones(5), "same").argmax())
    near = [float(shares[max(0, level - reach) : level + reach + 1].sum()) for reach in (2, 16, INK)]
    return Ground(level, near[0], near[1], 1 - near[2])


def _strokes(grey: Image.Image) -> float:
    """The share of pixels whose right neighbour is much darker or brighter."""
    width, height = grey.size
    if width < 2:
        return 0.0
    differences = ImageChops.difference(grey.crop((1, 0, width, height)), grey.crop((0, 0, width - 1, height)))
    return sum(differences.histogram()[STROKE:]) / ((width - 1) * height)
