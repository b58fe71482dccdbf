"""Pictures of more than one page, and pictures that mean harm."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from runners.documents.reader import read
from runners.errors import InvalidDocument, InvalidImage, PayloadTooLarge, RunnerError
from tests.doubles.documents_doubles import Sized
from tests.inputs.documents_made import png_header, saved


def tiff(*widths: int) -> bytes:
    first, *others = [Image.new("RGB", (width, 8)) for width in widths]
    return saved(first, "TIFF", save_all=True, append_images=others)


def directories(data: bytes) -> list[int]:
    """Where the pointers to the pages' directories stand."""
    places = [4]
    while position := struct.unpack_from("<L", data, places[-1])[0]:
        places.append(position + 2 + 12 * struct.unpack_from("<H", data, position)[0])
    return places


def test_every_page_of_a_tiff_is_read_in_its_order() -> None:
    found = read(tiff(10, 20, 30), "", Sized())
    assert found.text == "RGB 10 x 8\n\nRGB 20 x 8\n\nRGB 30 x 8"
    assert found.pages == 3


def test_a_smaller_copy_of_a_page_is_none() -> None:
    data = bytearray(saved(Image.new("RGB", (10, 8)), "TIFF", save_all=True, append_images=[Image.new("L", (5, 4))]))
    second = struct.unpack_from("<L", data, directories(bytes(data))[1])[0]
    struct.pack_into("<HHLL", data, second + 2, 254, 4, 1, 1)  # over its first entry, the width
    assert read(bytes(data), "", Sized()).pages == 1


@pytest.mark.parametrize("back", [0, 1])
def test_pages_that_go_round_in_a_circle_are_damaged(back: int) -> None:
    data = bytearray(tiff(10, 20))
    places = directories(bytes(data))
    data[places[-1] : places[-1] + 4] = data[places[back] : places[back] + 4]
    with pytest.raises(InvalidDocument, match="damaged"):
        read(bytes(data), "", Sized())


def test_a_tiff_whose_next_page_lies_outside_is_damaged() -> None:
    data = bytearray(tiff(10, 20))
    struct.pack_into("<L", data, directories(bytes(data))[-1], len(data) + 100)
    with pytest.raises(InvalidDocument, match="damaged"):
        read(bytes(data), "", Sized())


def test_a_tiff_of_more_pages_than_allowed_is_refused() -> None:
    assert read(tiff(*[8] * 200), "", Sized()).pages == 200
    with pytest.raises(PayloadTooLarge, match="200 pages"):
        read(tiff(*[8] * 201), "", Sized())


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_000), (50_000, 1_000), (2**31, 2**31)])
def test_a_picture_that_promises_too_many_pixels_is_refused(width: int, height: int) -> None:
    with pytest.raises(RunnerError) as found:
        read(png_header(width, height), "", Sized())
    assert isinstance(found.value, PayloadTooLarge | InvalidImage)


def test_a_picture_that_ends_too_early_is_corrupt() -> None:
    with pytest.raises(InvalidImage):
        read(saved(Image.effect_noise((99, 99), 90), "PNG")[:-2000], "", Sized())


def test_the_smallest_picture_is_read() -> None:
    assert read(saved(Image.new("RGB", (1, 1)), "PNG"), "", Sized()).text == "RGB 1 x 1"
