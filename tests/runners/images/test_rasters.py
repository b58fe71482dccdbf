"""TIFFs of measured values: every layout is read to the last sample, and stretched by what the file holds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runners.errors import InvalidImage, UnsupportedMediaType
from runners.images.decode import decode
from tests.inputs.tiffs_made import raster
from tests.runners.images.test_decode import gradient, saved, tiff

HEIGHT, WIDTH = 45, 50


def counts(dtype: str, bands: int) -> NDArray[Any]:
    """Values of 0 to 250, or of what the type holds, that differ from pixel to pixel; the first two are both ends."""
    draw, most = np.random.default_rng(3), 120 if dtype == "i1" else 250
    values = draw.integers(0, most + 1, (HEIGHT, WIDTH, bands)).astype(dtype)
    values[0, 0], values[0, 1] = 0, most
    return values


def seen(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode(data))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 5, 8, 32773, 50000])
def test_every_type_order_and_compression_keeps_every_value(dtype: str, order: str, compression: int) -> None:
    values = counts(dtype, 3)
    data = raster(values, order=order, compression=compression, rows=7)
    assert np.array_equal(seen(data), np.clip(values, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "layout",
    [
        {"tile": 16},
        {"tile": 32, "compression": 5},
        {"apart": True},
        {"apart": True, "tile": 16, "compression": 50000},
        {"big": True},
        {"big": True, "order": ">", "tile": 16},
        {"photometric": 2},
        {"rows": 1, "compression": 5},
        {"compression": 1, "tile": 16, "apart": True},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_every_layout_keeps_every_value(layout: dict[str, Any], dtype: str, bands: int) -> None:
    values = counts(dtype, bands)
    layout = layout | ({"photometric": 1} if bands < 3 else {})
    expected = values[..., :3] if bands > 2 else values[..., [0, 0, 0]]
    assert np.array_equal(seen(raster(values, **layout)), expected.astype(np.uint8))


@pytest.mark.parametrize("layout", [{"tile": 16}, {"rows": 9}, {"apart": True, "compression": 5}, {"order": ">"}])
@pytest.mark.parametrize(("dtype", "predictor"), [("u2", 2), ("i4", 2), ("f4", 3), ("f8", 3)])
def test_values_stored_as_differences_are_added_up(layout: dict[str, Any], dtype: str, predictor: int) -> None:
    values = counts(dtype, 3)
    assert np.array_equal(seen(raster(values, predictor=predictor, **layout)), values.astype(np.uint8))


def reflectances(white: float = 2750, dtype: str = "u2", unit: float = 1) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The gradient as reflectances, and as it is to be shown."""
    shown = np.asarray(gradient(60, 40)) // 2
    return (np.rint(shown * (white / 255.0)) * unit).astype(dtype), shown


@pytest.mark.parametrize("photometric", [1, 2])
@pytest.mark.parametrize(("dtype", "unit"), [("u2", 1), ("i2", 1), ("i4", 1), ("f4", 1), ("f4", 1e-4)])
def test_reflectances_are_shown_by_one_scale_and_not_as_part_of_16_bits(
    photometric: int, dtype: str, unit: float
) -> None:
    values, shown = reflectances(2750, dtype, unit)
    assert np.abs(seen(raster(values, photometric=photometric)).astype(int) - shown).max() <= 1


def test_a_scene_brighter_than_the_scale_is_not_cut_off() -> None:
    values, _ = reflectances(18_000)
    image = seen(raster(values))
    assert np.unique(image).size > 60
    assert (image == 255).mean() < 0.11


def test_a_dark_scene_is_not_made_bright() -> None:
    values = np.full((20, 20, 3), 300, "u2")
    values[::2] = 420
    assert seen(raster(values)).max() == 39


def test_pictures_that_use_all_16_bits_are_divided_by_257() -> None:
    shown = np.asarray(gradient(60, 40))
    assert np.abs(seen(raster(shown.astype("u2") * 257)).astype(int) - shown).max() == 0


def test_greys_of_which_0_is_white_are_turned_round() -> None:
    values = np.array([[[0], [100], [65_535]]], "u2")
    assert seen(raster(values, photometric=0))[0, :, 0].tolist() == [255, 255, 0]


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("extra", [1, 2])
def test_near_infrared_marked_as_alpha_is_no_mask(dtype: str, extra: int) -> None:
    values, shown = reflectances(255 if dtype == "u1" else 2750, dtype)
    infrared = np.asarray(gradient(60, 40).rotate(180))[..., :1].astype(dtype) * (1 if dtype == "u1" else 15)
    data = raster(np.concatenate([values, infrared], axis=-1), photometric=2, extra=[extra])
    assert np.abs(seen(data).astype(int) - shown).max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_alpha_of_0_everywhere_is_no_mask(dtype: str) -> None:
    values, shown = reflectances(255 if dtype == "u1" else 2750, dtype)
    data = raster(np.concatenate([values, values[..., :1] * 0], axis=-1), photometric=2, extra=[2])
    assert np.abs(seen(data).astype(int) - shown).max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_true_mask_lies_over_white(dtype: str) -> None:
    values, shown = reflectances(255 if dtype == "u1" else 2750, dtype)
    mask = np.full_like(values[..., :1], np.iinfo(dtype).max)
    mask[:10] = 0
    image = seen(raster(np.concatenate([values, mask], axis=-1), photometric=2, extra=[2]))
    assert (image[:10] == 255).all()
    assert np.abs(image[10:].astype(int) - shown[10:]).max() <= 1


@pytest.mark.parametrize(("dtype", "hole", "note"), [("u2", 0, "0"), ("i2", -9999, "-9999"), ("f4", np.nan, "nan")])
def test_pixels_without_data_take_the_mean_colour_of_the_others(dtype: str, hole: float, note: str) -> None:
    values, _ = reflectances(2750, dtype)
    values = values + 1
    mean = seen(raster(values[:20]))[:20].reshape(-1, 3).mean(axis=0)
    values[20:] = hole
    image = seen(raster(values, note=note))
    assert np.abs(image[20:].astype(int) - mean).max() <= 1
    assert np.array_equal(image[:20], seen(raster(values[:20])))


def test_a_picture_without_any_data_is_of_one_colour() -> None:
    for values in (np.full((20, 20, 3), -9999, "i2"), np.full((20, 20, 3), np.nan, "f4")):
        assert np.unique(seen(raster(values, note="-9999"))).size == 1


def test_an_8_bit_tiff_with_no_data_is_filled_too() -> None:
    values = np.full((20, 20, 3), 90, "u1")
    values[:10] = 0
    assert np.unique(seen(raster(values, note="0", photometric=2))).tolist() == [90]


def test_more_than_four_bands_are_read_where_the_file_names_red_green_and_blue() -> None:
    values = counts("u2", 6)
    assert np.array_equal(seen(raster(values, photometric=2)), values[..., :3].astype(np.uint8))
    with pytest.raises(UnsupportedMediaType, match="it has 6 bands, and nothing says which are red, green and blue"):
        decode(raster(values))


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({259: 4}, "its compression is CCITT Group 4; none, LZW, deflate, ZSTD, PackBits and JPEG are read"),
        ({259: 33003}, "its compression is JPEG 2000"),
        ({258: [12]}, "its samples are neither of 1, 2, 4, 8, 16, 32 or 64 bits nor floats of 32 or 64 bits"),
        ({339: [6]}, "its samples are neither"),
    ],
)
def test_a_refusal_names_what_is_not_read(tags: dict[int, int | list[int]], why: str) -> None:
    base: dict[int, int | list[int]] = {256: 1, 257: 1, 258: [16], 262: 1, 277: 1}
    with pytest.raises(UnsupportedMediaType, match=f"This TIFF is not read: {why}"):
        decode(tiff("<", base | tags, bytes(4)))


@pytest.mark.parametrize("compression", [1, 5, 8, 50000])
def test_a_raster_cut_anywhere_is_an_error(compression: int) -> None:
    data = raster(counts("u2", 3), compression=compression)
    start = data.index(struct.pack("<HHLL", 256, 4, 1, WIDTH)) - 2
    for kept in range(8, start, 997):
        with pytest.raises(InvalidImage):
            decode(data[:4] + struct.pack("<L", kept) + data[8:kept] + data[start:])


def test_three_bands_that_gdal_calls_grey_are_colours() -> None:
    shown = np.asarray(gradient())
    assert np.array_equal(seen(raster(shown, photometric=1, extra=[0, 0])), shown)


@pytest.mark.parametrize("extra", [0, 2])
def test_a_fourth_band_of_8_bits_is_left_out(extra: int) -> None:
    shown = np.asarray(gradient())
    four = np.concatenate([shown, shown[::-1, :, :1] // 2], axis=-1)
    assert np.array_equal(seen(raster(four, photometric=1, extra=[extra])), shown)


@pytest.mark.parametrize("header", [108, 124])
def test_a_bmp_whose_alpha_is_0_everywhere_has_no_mask(header: int) -> None:
    shown = np.asarray(gradient())
    for alpha, expected in ((0, shown), (255, shown)):
        pixels = np.dstack([shown[::-1, :, ::-1], np.full(shown.shape[:2], alpha, np.uint8)]).tobytes()
        masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        info = struct.pack("<LllHHLLllLL", header, 24, 16, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks
        data = (
            b"BM" + struct.pack("<LLL", 14 + header + len(pixels), 0, 14 + header) + info.ljust(header, b"\0") + pixels
        )
        assert np.array_equal(seen(data), expected)


def test_a_clear_png_stays_clear() -> None:
    assert set(seen(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "PNG")).ravel()) == {255}
