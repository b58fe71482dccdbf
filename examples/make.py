"""Draws the example pictures: python examples/make.py.

The satellite pictures are made of fractal noise, so that they copy no data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 256  # pixels
Field = NDArray[np.float64]


def noise(seed: int, roughness: float, stretch: float = 1.0) -> Field:
    """Fractal noise [SIDE, SIDE] in [0, 1]: amplitude falls with frequency to the power of ``roughness``."""
    random = np.random.default_rng(seed)
    down, across = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE) * stretch, indexing="ij")
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(random.normal(size=(SIDE, SIDE))) / frequency**roughness).real
    low, high = np.percentile(field, [1, 99])
    scaled: Field = np.clip((field - low) / (high - low), 0, 1)
    return scaled


def mix(low: tuple[int, int, int], high: tuple[int, int, int], share: Field) -> Field:
    """Two colours mixed, [SIDE, SIDE, 3] in 0..255."""
    mixed: Field = np.array(low) + share[..., None] * (np.array(high) - np.array(low))
    return mixed


PAGE = """The old harbour of the town will be rebuilt over the next six
years. The council voted for the plan on Tuesday evening.
Fishermen had asked for a deeper basin since 2009, when the
sand closed the channel for a whole winter."""


def page() -> Image.Image:
    """A page of a document, as a scanner would see it."""
    image = Image.new("L", (900, 300), 255)
    ImageDraw.Draw(image).multiline_text((50, 50), PAGE, 0, ImageFont.load_default(28), spacing=14)
    return image


def main() -> None:
    """Write four JPEG files and a PNG file beside this one."""
    page().save(Path(__file__).with_name("page.png"), optimize=True)
    sea = mix((14, 40, 84), (22, 54, 100), 0.7 * noise(1, 1.6) + 0.3 * noise(2, 0.4, stretch=3))
    forest = mix((14, 34, 18), (58, 92, 48), 0.5 * noise(3, 0.8) + 0.5 * noise(4, 0.15))
    desert = mix((178, 138, 92), (232, 200, 152), 0.6 * noise(5, 1.8) + 0.4 * noise(6, 1.2, stretch=4))
    thickness = np.clip(noise(7, 1.7) * 1.5 - 0.05, 0, 1)[..., None]
    clouds = sea * (1 - thickness) + (200 + 45 * noise(8, 1.3)[..., None]) * thickness
    for name, pixels in {"sea": sea, "forest": forest, "desert": desert, "clouds": clouds}.items():
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        picture.save(Path(__file__).with_name(f"{name}.jpg"), quality=88)


if __name__ == "__main__":
    main()
