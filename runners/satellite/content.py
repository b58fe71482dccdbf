"""Whether a picture shows a scene that the network can classify, and not one colour, no data, or a page of text.

A network trained on scenes gives a label to everything: black becomes sea, white becomes cloud. Pictures without a
scene are detected by statistics. The limits exclude none of 25,603 satellite pictures: see docs/models/satellite.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageChops

FLAT: Final = 0.25
"""Standard deviation, of 255, below which a picture has one colour. The calmest real sea has 0.74."""

FLAT_LAND: Final = 0.9
"""Standard deviation below which a picture that is not bluish has one colour. The haziest real desert has 1.0."""

BLUISH: Final = 3.0
"""Least difference between mean blue and mean red of calm water: it is 3.1 in the 1,832 calmest pictures."""

NOISE: Final = 3.0
"""Standard deviation below which a picture that is not bluish may be noise on one colour."""

UNRELATED: Final = 0.1
"""Correlation of neighbouring pixels below which a picture is only noise. The least real one is 0.15."""

CORRELATED_SIDE: Final = 512
"""Pixels per side of the central part in which neighbours are compared, at most."""

ONE_VALUE: Final = 0.95
"""Share of pixels with the same value from which a picture has no scene. The calmest real sea has 0.68."""

DRAWN: Final = 0.75
"""Share of pixels of exactly one colour from which edges count as drawn strokes."""

LEVELS: Final = np.arange(256.0)

PAPER: Final = 190
"""Least brightness of paper."""

STROKE: Final = 40
"""Least difference between neighbours at the edge of a stroke."""

INK: Final = 48
"""Least difference between ink and its background."""

STROKES_OF_INK: Final = 0.25
"""Least number of edges per pixel of ink: letters are mostly edges, while islands, clouds and lakes have interiors."""


@dataclass(frozen=True)
class Ground:
    """The background of a picture, from its brightness histogram."""

    level: int
    tight: float
    """Share of pixels within 2 levels of ``level``."""
    wide: float
    """Share of pixels within 16 levels of ``level``."""
    ink: float
    """Share of pixels at least ``INK`` levels away from ``level``."""


def is_empty(image: Image.Image) -> bool:
    """Return whether an RGB picture shows no scene. It takes about as long as resizing the picture."""
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
    """Return the correlation of horizontal neighbours in the most correlated channel."""
    width, height = min(image.width, CORRELATED_SIDE), min(image.height, CORRELATED_SIDE)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    part = np.asarray(image.crop((left, top, left + width, top + height)), np.float32)
    if width < 2:
        return 0.0
    part = part - part.mean(axis=(0, 1))
    together = (part[:, 1:] * part[:, :-1]).mean(axis=(0, 1))
    return float((together / np.maximum(part.var(axis=(0, 1)), 1e-6)).max())


def _is_page(image: Image.Image, same: float) -> bool:
    """Return whether a picture shows thin strokes on an even background; ``same`` is the share of its main colour."""
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
    """Return the share of pixels whose right neighbour is much darker or brighter."""
    width, height = grey.size
    if width < 2:
        return 0.0
    differences = ImageChops.difference(grey.crop((1, 0, width, height)), grey.crop((0, 0, width - 1, height)))
    return sum(differences.histogram()[STROKE:]) / ((width - 1) * height)
