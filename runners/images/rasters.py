"""TIFFs of measured values (more than 8 bits per sample, signed, fractional, many bands) as 8-bit pictures.

Such files hold reflectances or counts instead of display brightness. They are read twice, a few rows at a time: once to
find the range of values, and once to scale them. See docs/models/satellite.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runners.images.alpha import is_mask
from runners.images.tiff import (
    BLACK_IS_ZERO,
    EXTRA,
    FLOAT,
    FORMAT,
    PHOTOMETRIC,
    PLAIN_ALPHA,
    PREMULTIPLIED,
    SAMPLES,
    SIGNED,
    WHITE_IS_ZERO,
    Tiff,
)
from runners.images.tiff_bands import rows

SAMPLED_PIXELS: Final = 100_000
"""Approximate number of pixels that are sampled to find the range of values."""

REFLECTANCE: Final = 10_000
"""Factor of reflectances that are stored as integers (Sentinel-2, Landsat, MODIS)."""

BRIGHTEST_REFLECTANCE: Final = 16_000
"""Largest value of a scaled reflectance: clouds and snow exceed 10,000, and other 16-bit pictures reach 65,535."""

SHOWN_REFLECTANCE: Final = 2_750
"""Least scaled reflectance that becomes white, as in EuroSAT. A scene's own maximum would make dark forest bright."""


@dataclass(frozen=True)
class Scale:
    """A linear scale from samples to brightness: ``black`` becomes 0, ``white`` 255, and values outside are clipped."""

    black: float
    white: float

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the brightness of each value, uint8 of the same shape."""
        with np.errstate(all="ignore"):  # hostile floats include infinities and NaN
            scaled = (values.astype(np.float32) - self.black) * (255 / (self.white - self.black))
        rounded: NDArray[np.uint8] = np.clip(np.rint(np.nan_to_num(scaled)), 0, 255).astype(np.uint8)
        return rounded


def read(tiff: Tiff) -> Image.Image:
    """Return the picture as RGB; pixels without data get the mean colour. Raises ValueError or similar if corrupt."""
    colours, masked = _shown_bands(tiff)
    values, alpha = _sample(tiff, colours, masked)
    valid = values[_has_data(values, tiff.no_data)]
    scale = scale_of(valid, tiff)
    fill = scale(valid).mean(axis=0).round().astype(np.uint8) if len(valid) else np.zeros(len(colours), np.uint8)
    opaque = float(alpha.max()) if masked and is_mask(alpha, np.any(values != 0, axis=1)) else 0.0
    image = Image.new("RGB", (tiff.width, tiff.height))
    for top, samples in rows(tiff, (*colours, *masked)):
        shown = scale(samples[..., : len(colours)])
        shown[~_has_data(samples[..., : len(colours)], tiff.no_data)] = fill
        if opaque:
            shown = _over_white(shown, samples[..., -1:] / opaque, tiff.tags[EXTRA][0] == PREMULTIPLIED)
        grey = shown.shape[-1] == 1
        image.paste(Image.fromarray(np.repeat(shown, 3, axis=-1) if grey else shown), (0, top))
    return image


def _shown_bands(tiff: Tiff) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices of the colour bands, and of the band marked as alpha, if any."""
    samples = tiff.one(SAMPLES, 1)
    colours = (0, 1, 2) if samples > 2 else (0,)
    extra = tiff.tags.get(EXTRA, ())
    marked = samples > len(colours) and extra[:1] in {(PREMULTIPLIED,), (PLAIN_ALPHA,)}
    return colours, (len(colours),) if marked else ()


def _sample(tiff: Tiff, colours: tuple[int, ...], masked: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return evenly spaced pixels of the picture: their colours, [pixels, bands], and their alpha, [pixels]."""
    step = max(1, round((tiff.width * tiff.height / SAMPLED_PIXELS) ** 0.5))
    parts = [_subsample(step, top, samples) for top, samples in rows(tiff, (*colours, *masked))]
    pixels = np.concatenate(parts)
    return pixels[:, : len(colours)], pixels[:, len(colours) :].ravel()


def _subsample(step: int, top: int, samples: NDArray[Any]) -> NDArray[Any]:
    part = samples[-top % step :: step, ::step].copy()  # a view would keep all rows alive
    return part.reshape(-1, samples.shape[-1])


def _has_data(values: NDArray[Any], no_data: float | None) -> NDArray[np.bool_]:
    """Return which pixels hold data: all bands are finite, and not all equal the file's "no data" value."""
    valid: NDArray[np.bool_] = np.isfinite(values).all(axis=-1)
    if no_data is not None and _holds(values.dtype, no_data):
        valid &= (values != np.array(no_data).astype(values.dtype)).any(axis=-1)
    return valid


def _holds(dtype: np.dtype[Any], number: float) -> bool:
    if dtype.kind == "f":
        return bool(abs(number) <= np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return limits.min <= number <= limits.max


def scale_of(values: NDArray[Any], tiff: Tiff) -> Scale:
    """Return the scale of a file with these values: 8 bits, reflectances, 16 bits, or its own maximum."""
    white = _white(values, tiff) if values.size else 1.0
    inverted = tiff.one(PHOTOMETRIC, BLACK_IS_ZERO) == WHITE_IS_ZERO
    return Scale(white, 0) if inverted else Scale(0, white)


def _white(values: NDArray[Any], tiff: Tiff) -> float:
    values = values.astype(np.float64)
    bright = float(np.percentile(values, 99.5))
    fraction = _sample_format(tiff) == FLOAT and bright <= BRIGHTEST_REFLECTANCE / REFLECTANCE
    unit = 1 / REFLECTANCE if fraction else 1.0
    if not fraction and bright <= 255:
        return 255.0
    if bright <= BRIGHTEST_REFLECTANCE * unit:
        return max(SHOWN_REFLECTANCE * unit, float(np.percentile(values, 90)))
    if tiff.bits == 16 or bright <= 65_535:
        return 32_767.0 if _sample_format(tiff) == SIGNED and tiff.bits == 16 else 65_535.0
    return bright


def _sample_format(tiff: Tiff) -> int:
    return tiff.tags.get(FORMAT, (1,))[0]


def _over_white(shown: NDArray[np.uint8], share: NDArray[Any], premultiplied: bool) -> NDArray[np.uint8]:
    colours = shown if premultiplied else shown * share
    blended: NDArray[np.uint8] = np.clip(np.rint(colours + 255 * (1 - share)), 0, 255).astype(np.uint8)
    return blended
