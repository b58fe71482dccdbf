"""Pictures for requests: 640 x 480 JPEG files of 50 to 80 kB, like a camera's, the same in every run."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
NAMES: Final = ("forest", "sea", "desert", "clouds")
SIZE: Final = (640, 480)
VARIANTS: Final = 2
"""Pictures made of each example."""
QUALITY: Final = 88
MIN_BYTES: Final = 50_000
MAX_BYTES: Final = 80_000
TARGET_BYTES: Final = 65_000
STRENGTHS: Final = tuple(range(1, 40))
"""Possible strengths of the texture, in grey levels; the smallest one with ``TARGET_BYTES`` is used."""

Pixels = NDArray[np.float64]


def photographs() -> list[bytes]:
    """Return the files, in the order in which they are sent."""
    return [_photograph(name, seed) for seed in range(VARIANTS) for name in NAMES]


def _photograph(name: str, seed: int) -> bytes:
    """Enlarge an example, and add a texture that makes its file as large as a photograph's."""
    with Image.open(EXAMPLES / f"{name}.jpg") as example:
        enlarged = example.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    ground = np.asarray(enlarged, dtype=np.float64)
    texture = _texture(seed + len(NAMES) * NAMES.index(name))[..., None]
    low, high = STRENGTHS[0], STRENGTHS[-1]
    while low < high:  # binary search: a stronger texture never makes a smaller file
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(_encoded(ground + middle * texture)) < TARGET_BYTES else (low, middle)
    return _encoded(ground + low * texture)


def _texture(seed: int) -> Pixels:
    """Fractal noise of mean 0 and deviation 1, with a little noise of single pixels."""
    random = np.random.default_rng(seed)
    width, height = SIZE
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf
    fractal = np.fft.ifft2(np.fft.fft2(random.normal(size=(height, width))) / frequency**0.9).real
    mixed: Pixels = fractal / fractal.std() + 0.2 * random.normal(size=(height, width))
    return mixed


def _encoded(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
