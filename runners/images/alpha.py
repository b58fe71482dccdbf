"""Whether an alpha channel is a mask: satellite pictures may store near infrared in it, or nothing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIN_OPAQUE_SHARE: Final = 0.05
"""Smallest share of opaque pixels in a masked picture. Near infrared reaches its maximum in one pixel of a hundred."""

MIN_DECIDED_SHARE: Final = 0.5
"""Smallest share of pixels in a masked picture that are fully opaque or fully transparent."""


def is_mask(alpha: NDArray[Any], coloured: NDArray[np.bool_]) -> bool:
    """Return whether a band is a mask. Black pixels do not count: borders are transparent anyway."""
    values = alpha[coloured] if coloured.any() else alpha
    opaque = values.max(initial=0)
    return bool(opaque > 0) and _decided(float((values == opaque).mean()), float((values == 0).mean()))


def of_tiff(image: Image.Image) -> bool:
    """Return whether the 8-bit alpha channel of a decoded TIFF is a mask; 255 is opaque."""
    coloured = image.convert("L").point([0] + [255] * 255)
    counts = image.getchannel("A").histogram(coloured)
    if not sum(counts):
        counts = image.getchannel("A").histogram()
    return _decided(counts[255] / sum(counts), counts[0] / sum(counts))


def of_bmp(image: Image.Image) -> bool:
    """Return whether the alpha channel of a BMP is in use: many programs leave the fourth byte 0."""
    return image.getchannel("A").getextrema()[1] != 0


def _decided(opaque: float, clear: float) -> bool:
    return opaque >= MIN_OPAQUE_SHARE and opaque + clear >= MIN_DECIDED_SHARE
