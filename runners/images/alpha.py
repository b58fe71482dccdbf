"""Whether what a file calls alpha is a mask: satellite pictures keep near infrared there, or nothing at all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEAST_OPAQUE: Final = 0.05
"""Least share of a masked picture that is opaque. Near infrared holds its own maximum in one pixel of a hundred."""

LEAST_DECIDED: Final = 0.5
"""Least share of a masked picture that is wholly opaque or wholly clear."""


def is_mask(alpha: NDArray[Any], coloured: NDArray[np.bool_]) -> bool:
    """Whether a band of samples is a mask, judged where the colours are not all 0: black borders are clear anyway."""
    judged = alpha[coloured] if coloured.any() else alpha
    most = judged.max(initial=0)
    return bool(most > 0) and _decided(float((judged == most).mean()), float((judged == 0).mean()))


def of_tiff(image: Image.Image) -> bool:
    """The same of a decoded picture with an alpha channel of 8 bits, in which 255 is opaque."""
    coloured = image.convert("L").point([0] + [255] * 255)
    counts = image.getchannel("A").histogram(coloured)
    if not sum(counts):
        counts = image.getchannel("A").histogram()
    return _decided(counts[255] / sum(counts), counts[0] / sum(counts))


def of_bmp(image: Image.Image) -> bool:
    """Whether any pixel shows: writers of BMP leave the fourth byte 0."""
    return image.getchannel("A").getextrema()[1] != 0


def _decided(opaque: float, clear: float) -> bool:
    return opaque >= LEAST_OPAQUE and opaque + clear >= LEAST_DECIDED
