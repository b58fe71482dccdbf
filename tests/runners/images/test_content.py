"""Pictures that show nothing of the earth are rejected before the network; calm sea, desert and cloud are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runners.contract import InferenceRequest, InferenceResult
from runners.images.decode import decode
from runners.images.pipeline import ImagePipeline
from runners.satellite.content import is_empty
from runners.satellite.service import SatelliteModel
from tests.conftest import encoded, picture
from tests.inputs.tiffs_made import raster
from tests.runners.images.test_decode import gradient, saved

COLOURS = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "sand": (220, 190, 140),
    "green": (30, 90, 30),
}
SEA = (20, 40, 90)


def noisy(colour: tuple[int, int, int], spread: float, side: int = 64) -> Image.Image:
    noise = np.random.default_rng(5).normal(0, spread, (side, side, 3))
    return Image.fromarray(np.clip(np.rint(colour + noise), 0, 255).astype(np.uint8))


def page(
    size: tuple[int, int] = (300, 200), letters: int = 14, ink: int = 20, ground: tuple[int, int, int] = (252, 251, 246)
) -> Image.Image:
    image = Image.new("RGB", size, ground)
    font = ImageFont.load_default(letters)
    for line in range(1, size[1] // (2 * letters)):
        words = "Nothing of the earth is on this page of text. " * 9
        ImageDraw.Draw(image).text((10, 2 * letters * line), words[: size[0] // letters], (ink,) * 3, font=font)
    return image


@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
@pytest.mark.parametrize("spread", [0, 0.3, 1, 2])
@pytest.mark.parametrize("side", [64, 300])
def test_one_colour_with_or_without_noise_is_empty(colour: tuple[int, int, int], spread: float, side: int) -> None:
    assert is_empty(noisy(colour, spread, side))


def test_one_colour_stays_empty_as_jpeg() -> None:
    for colour in (*COLOURS.values(), SEA):
        assert is_empty(decode(saved(Image.new("RGB", (640, 480), colour), "JPEG"), 192))


def test_calm_water_is_not_empty_but_its_colour_alone_is() -> None:
    assert is_empty(noisy(SEA, 0))
    assert not any(is_empty(noisy(SEA, spread)) for spread in (0.4, 0.7, 1.5, 4))


def test_haze_over_land_is_not_empty() -> None:
    hills = np.asarray(picture(1, (128, 128)).convert("L"), float)
    for colour in COLOURS.values():
        spread = (hills - hills.mean()) / hills.std() * 1.3
        land = np.clip(np.rint(np.array(colour) * 0.9 + 10 + spread[..., None]), 0, 255).astype(np.uint8)
        assert not is_empty(Image.fromarray(land))


@pytest.mark.parametrize(
    "image",
    [
        page(),
        page((600, 800), 24),
        page((600, 800), 12),
        page(ground=(240, 225, 170)),
        page(ground=(20, 20, 30), ink=220),
        page(ground=(20, 50, 120), ink=255),
        page().convert("L").convert("1", dither=Image.Dither.NONE).convert("RGB"),
        decode(saved(page((1200, 800), 40), "JPEG", quality=50), 192),
    ],
)
def test_pages_of_text_are_empty(image: Image.Image) -> None:
    assert is_empty(image)


def test_scenes_are_not_empty() -> None:
    islands = Image.new("RGB", (200, 200), SEA)
    for left, top in ((20, 30), (90, 120), (150, 40)):
        ImageDraw.Draw(islands).ellipse((left, top, left + 30, top + 25), (90, 110, 60))
    noise = np.random.default_rng(2).normal(0, 1.2, (200, 200, 3))
    islands = Image.fromarray(np.clip(np.asarray(islands) + noise, 0, 255).astype(np.uint8))
    for scene in (islands, gradient(128, 128), *(picture(seed) for seed in range(20))):
        assert not is_empty(scene)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_pictures_of_a_few_pixels_are_judged(size: tuple[int, int]) -> None:
    assert is_empty(Image.new("RGB", size))
    assert isinstance(is_empty(gradient(*size)), bool)


def no_data() -> bytes:
    values = np.full((40, 40, 3), -9999, "i2")
    return raster(values, note="-9999")


NOTHING: dict[str, Callable[[], bytes]] = {
    "black": lambda: saved(Image.new("RGB", (64, 64)), "PNG"),
    "a corner of a scene": lambda: saved(_corner(), "PNG"),
    "clear": lambda: saved(Image.new("RGBA", (64, 64), (9, 99, 9, 0)), "PNG"),
    "no data": no_data,
    "a page of text": lambda: saved(page(), "PNG"),
}


def _corner() -> Image.Image:
    image = Image.new("RGB", (200, 200))
    image.paste(picture(3, (40, 40)), (160, 0))
    return image


@pytest.mark.parametrize("name", NOTHING)
def test_a_picture_of_nothing_is_rejected_in_the_documented_shape(name: str, store: Path) -> None:
    request = InferenceRequest(input_data={"image": NOTHING[name]()}, parameters={"lang": "en"})
    (result,) = SatelliteModel().infer([request])
    assert result.output_data is not None
    assert result.output_data["rejected"] is True
    assert result.output_data["probabilities"] == dict.fromkeys(("forest", "sea", "desert", "cloudy"), 0.0)
    assert (result.output_data["confidence"], result.confidence) == (0.0, 0.0)
    assert set(result.output_data) == {"label", "confidence", "probabilities", "rejected", "model"}


def test_the_network_never_sees_what_was_answered_before_it() -> None:
    seen: list[int] = []

    class Widths:
        def prepare(self, image: Image.Image, parameters: dict[str, Any]) -> int | InferenceResult:
            return InferenceResult(output_data={"seen": False}) if is_empty(image) else image.width

        def compute(self, prepared: list[int]) -> list[InferenceResult]:
            seen.extend(prepared)
            return [InferenceResult(output_data={"seen": width}) for width in prepared]

    files = [encoded(size=(30, 30)), _flat(), b"no picture", encoded(size=(40, 40)), _flat()]
    requests = [InferenceRequest(input_data={"image": data}) for data in files]
    pipeline: ImagePipeline[int] = ImagePipeline(Widths(), 32, 8)
    together, alone = pipeline.infer(requests), asyncio.run(pipeline.answer(requests))
    for results in (together, alone):
        told = [result.output_data and result.output_data["seen"] for result in results]
        assert told == [30, False, None, 40, False]
    assert pipeline.infer(requests[1:2])[0].output_data == {"seen": False}
    assert sorted(seen) == [30, 30, 40, 40]


def _flat() -> bytes:
    out = BytesIO()
    Image.new("RGB", (16, 16), (7, 7, 7)).save(out, "PNG")
    return out.getvalue()
