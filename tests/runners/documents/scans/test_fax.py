"""Pages that are compressed as a fax is."""

from __future__ import annotations

import struct

import pytest
from PIL import Image, ImageDraw

from runners.documents.reader import read
from runners.documents.scans.fax import decode, is_fax
from runners.errors import InvalidImage, PayloadTooLarge, RunnerError, UnsupportedMediaType
from tests.doubles.documents_doubles import Sized
from tests.inputs.documents_made import saved


def page(width: int = 64, height: int = 40) -> Image.Image:
    image = Image.new("1", (width, height), 1)
    ImageDraw.Draw(image).rectangle((4, 4, width // 2, height // 2), fill=0)
    return image


def fax(image: Image.Image, compression: str = "group4", **options: object) -> bytes:
    return saved(image, "TIFF", compression=compression, **options)


def entry(data: bytes, tag: int) -> int:
    """Where the first directory has an entry."""
    (start,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return next(place for place in places if struct.unpack_from("<H", data, place)[0] == tag)


def changed(data: bytes, tag: int, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into("<L", out, entry(data, tag) + 8, value)
    return bytes(out)


@pytest.mark.parametrize("compression", ["group4", "group3", "tiff_ccitt"])
def test_a_fax_is_decoded_to_the_pixel(compression: str) -> None:
    data = fax(page(), compression)
    assert is_fax(data)
    assert decode(data).tobytes() == page().convert("RGB").tobytes()


def test_every_page_of_a_fax_is_read() -> None:
    data = fax(page(64), save_all=True, append_images=[page(80), page(96)])
    assert read(data, "", Sized()).text == "RGB 64 x 40\n\nRGB 80 x 40\n\nRGB 96 x 40"


def test_other_pictures_are_no_fax() -> None:
    assert not is_fax(saved(page(), "TIFF"))
    assert not is_fax(saved(page(), "PNG"))
    assert not is_fax(b"II*\0")


@pytest.mark.parametrize(
    ("dots", "size"), [((204, 98), (64, 83)), ((98, 196), (128, 40)), ((200, 200), (64, 40)), ((9, 0), (64, 40))]
)
def test_dots_that_are_longer_than_wide_are_made_even(dots: tuple[int, int], size: tuple[int, int]) -> None:
    assert decode(fax(page(), dpi=dots)).size == size


def test_a_page_that_lies_on_its_side_is_turned() -> None:
    assert decode(fax(page(), tiffinfo={274: 6})).size == (40, 64)


def test_a_fax_that_ends_too_early_is_corrupt() -> None:
    with pytest.raises(InvalidImage):
        decode(changed(fax(page()), 273, 2**31))
    with pytest.raises(InvalidImage):
        decode(fax(page())[:60])


def test_a_fax_that_promises_too_many_pixels_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        decode(changed(fax(page()), 256, 60_000))


def test_a_fax_of_more_than_one_bit_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        decode(changed(fax(page()), 258, 8))


def test_whatever_is_changed_in_a_fax_it_is_decoded_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    data = fax(page())
    for place in range(8, len(data)):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        try:
            assert decode(bytes(broken)).mode == "RGB"
        except RunnerError:
            continue
    capfd.readouterr()  # libtiff says what it thinks
