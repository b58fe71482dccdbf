"""Pictures of every kind, whole and broken; what they may cost is in test_image_limits."""

from __future__ import annotations

import random
import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runners.errors import InvalidImage, RunnerError, UnsupportedMediaType
from runners.images.decode import decode

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    """Every corner another colour."""
    bands = [Image.linear_gradient("L").resize((width, height)) for _ in range(3)]
    bands[1] = bands[1].rotate(180)
    bands[2] = Image.linear_gradient("L").rotate(90).resize((width, height))
    return Image.merge("RGB", bands)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG written by hand, for the kinds that Pillow does not write."""

    def chunk(name: bytes, payload: bytes) -> bytes:
        return struct.pack(">L", len(payload)) + name + payload + struct.pack(">L", zlib.crc32(name + payload))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    extra = b"".join(chunk(name.encode(), payload) for name, payload in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(order: str, tags: dict[int, int | list[int]], pixels: bytes) -> bytes:
    """A TIFF of one strip written by hand; all values are LONG but lists, which are SHORT. Strip at byte 8."""
    tags = {273: 8, 279: len(pixels), **tags}
    arrays, entries = b"", b""
    for tag, value in sorted(tags.items()):
        if isinstance(value, list) and len(value) > 2:
            entries += struct.pack(order + "HHLL", tag, 3, len(value), 8 + len(pixels) + len(arrays))
            arrays += struct.pack(f"{order}{len(value)}H", *value)
        elif isinstance(value, list):
            entries += struct.pack(order + "HHL", tag, 3, len(value))
            entries += struct.pack(f"{order}{len(value)}H", *value).ljust(4, b"\0")
        else:
            entries += struct.pack(order + "HHLL", tag, 4, 1, value)
    start = 8 + len(pixels) + len(arrays)
    magic = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HL", 42, start)
    return magic + pixels + arrays + struct.pack(order + "H", len(entries) // 12) + entries + bytes(4)


@cache
def files() -> dict[str, bytes]:
    """Small files of all kinds, by a name that says what each is."""
    colour, grey = gradient(), gradient().convert("L")
    clear = colour.convert("RGBA")
    clear.putalpha(grey)
    found = {kind: saved(colour, kind) for kind in FORMATS}
    found |= {f"{kind} grey": saved(grey, kind) for kind in FORMATS}
    found |= {f"{kind} 1 bit": saved(grey.convert("1"), kind) for kind in FORMATS if kind != "WEBP"}
    found |= {f"{kind} palette": saved(colour.quantize(16), kind) for kind in ("PNG", "GIF", "BMP", "TIFF")}
    found |= {f"{kind} RGBA": saved(clear, kind) for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF")}
    found |= {f"{kind} LA": saved(clear.convert("LA"), kind) for kind in ("PNG", "WEBP", "TIFF")}
    found |= {f"{kind} CMYK": saved(colour.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")}
    found |= {f"{kind} 16 bit": saved(grey.convert("I;16"), kind) for kind in ("PNG", "TIFF")}
    found |= {f"TIFF {name}": saved(colour, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "packbits")}
    found["JPEG progressive"] = saved(colour, "JPEG", progressive=True)
    found["WEBP lossless"] = saved(clear, "WEBP", lossless=True)
    others = {"save_all": True, "append_images": [grey.convert("RGB")]}
    found |= {f"{kind} of two frames": saved(colour, kind, **others) for kind in ("PNG", "WEBP", "GIF", "TIFF")}
    return found


@pytest.mark.parametrize("name", sorted(files()))
def test_every_kind_becomes_rgb_of_its_size(name: str) -> None:
    image = decode(files()[name])
    assert (type(image), image.mode, image.size) == (Image.Image, "RGB", (24, 16))
    image.close()


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "TIFF tiff_lzw", "TIFF packbits", "PNG of two frames"])
def test_lossless_kinds_keep_every_pixel(name: str) -> None:
    assert decode(files()[name]).tobytes() == gradient().tobytes()


@pytest.mark.parametrize("name", ["WEBP of two frames", "GIF of two frames", "TIFF of two frames"])
def test_the_first_frame_counts(name: str) -> None:
    red, _, blue = decode(files()[name]).getpixel((20, 3))  # type: ignore[misc]
    assert abs(red - blue) > 60  # the second frame is grey


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_turned_picture_is_put_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(gradient(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    turned = {5: 4, 6: 4, 7: 4, 8: 4}.get(orientation)
    image = decode(data)
    assert image.size == ((16, 24) if turned else (24, 16))
    corners = {1: (0, 0), 2: (23, 0), 3: (23, 15), 4: (0, 15), 5: (0, 0), 6: (15, 0), 7: (15, 23), 8: (0, 23)}
    seen = image.getpixel(corners.get(orientation, (0, 0)))
    assert all(abs(a - b) < 12 for a, b in zip(seen, gradient().getpixel((0, 0)), strict=True))  # type: ignore[arg-type]


def test_broken_exif_does_not_break_the_picture() -> None:
    data = saved(gradient(), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).tobytes() == gradient().tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_16_bit_greys_are_scaled_and_not_clipped(order: str, compression: int) -> None:
    greys = [0, 100, 257, 0x8000, 0xFF00, 0xFFFF]
    pixels = struct.pack(f"{order}6H", *greys)
    pixels = zlib.compress(pixels) if compression == 8 else pixels
    data = tiff(order, {256: 6, 257: 1, 258: [16], 259: compression, 262: 1, 277: 1, 278: 1}, pixels)
    rows = b"\0" + struct.pack(">6H", *greys)
    for image in (decode(data), decode(png(6, 1, 16, 0, rows))):
        assert list(image.tobytes()[::3]) == [0, 0, 1, 128, 254, 255]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("samples", [3, 4])
def test_16_bit_colours_keep_their_high_byte(order: str, samples: int) -> None:
    values = [0x1234, 0x8000, 0xFFFF, 0xFFFF][:samples]
    tags: dict[int, int | list[int]] = {256: 1, 257: 1, 258: [16] * samples, 262: 2, 277: samples, 278: 1}
    data = tiff(order, tags | ({338: [2]} if samples == 4 else {}), struct.pack(f"{order}{samples}H", *values))
    rows = b"\0" + struct.pack(f">{samples}H", *values)
    for image in (decode(data), decode(png(1, 1, 16, {3: 2, 4: 6}[samples], rows))):
        assert image.getpixel((0, 0)) == (0x12, 0x80, 0xFF)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_lies_over_white(kind: str) -> None:
    clear = Image.new("RGBA", (2, 1), (0, 100, 200, 255))
    clear.putpixel((1, 0), (0, 100, 200, 51))
    image = decode(saved(clear, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [(0, 100, 200), (204, 224, 244)]


def test_a_transparent_colour_becomes_white_at_every_depth() -> None:
    for depth, rows in ((1, b"\0\x40"), (2, b"\0\x10"), (4, b"\0\x01"), (8, b"\0\0\x01"), (16, b"\0\0\0\0\x01")):
        image = decode(png(2, 1, depth, 0, rows, tRNS=b"\0\1"))
        assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [(0, 0, 0), (255, 255, 255)], depth
    for depth, rows in ((8, b"\0" + b"\1\2\3\1\2\4"), (16, b"\0" + b"\1\0\2\0\3\0\1\0\2\0\4\0")):
        key = b"\0\1\0\2\0\3" if depth == 8 else b"\1\0\2\0\3\0"
        image = decode(png(2, 1, depth, 2, rows, tRNS=key))
        assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [(255, 255, 255), (1, 2, 4)], depth
    for key in (b"\0", b"\x80\xff"):
        image = decode(png(1, 1, 8, 3, b"\0\0", PLTE=b"\0\0\0\1\1\1", tRNS=key))
        assert image.getpixel((0, 0)) == ((255, 255, 255) if key == b"\0" else (127, 127, 127))


def test_white_paper_in_a_gif_that_is_clear_stays_white() -> None:
    frame = Image.new("P", (4, 4), 1)
    frame.putpalette([255, 0, 0, 0, 0, 255])
    frame.putpixel((0, 0), 0)
    image = decode(saved(frame, "GIF", transparency=0))
    assert [image.getpixel((0, 0)), image.getpixel((3, 3))] == [(255, 255, 255), (0, 0, 255)]


def rle8(width: int, height: int, rows: bytes) -> bytes:
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<LLL", 54 + 1024 + len(rows), 0, 54 + 1024) + head + palette + rows


def test_a_bmp_of_run_lengths_is_read() -> None:
    image = decode(rle8(3, 2, b"\x03\x07\0\0\x02\x09\x01\x05\0\1"))
    assert image.tobytes()[::3] == b"\x09\x09\x05\x07\x07\x07"


OTHERS = [
    b"hello, this is no picture",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"%PDF-1.7\n%abc",
    b"8BPS\0\1" + bytes(30),
]
OTHERS += [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
OTHERS += [b"PK\3\4" + bytes(40), b"\0\0\1\0\1\0\x10\x10" + bytes(40), b"RIFF\x24\0\0\0WAVEfmt " + bytes(20), b"x"]
OTHERS += [
    b"BMW is a maker of cars, and this is text",
    b"\x7fELF" + bytes(40),
    b"P6 1 1 255\n\0\0\0",
    b"II\x2b\0" + bytes(40),
]
OTHERS += [b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), b"\n" + b" " * 40, bytes(100), b"GIF88a" + bytes(40)]


@pytest.mark.parametrize("data", OTHERS)
def test_anything_else_is_told_what_is_accepted(data: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match="JPEG, PNG, WebP, GIF, BMP or TIFF"):
        decode(data)


@pytest.mark.parametrize(
    "tags", [{259: 50001}, {259: 34925}, {259: 4}, {259: 6}, {258: [12]}, {339: [3]}, {339: [5]}, {262: 8}]
)
def test_a_tiff_of_strange_samples_or_compression_is_none_of_the_accepted(tags: dict[int, int | list[int]]) -> None:
    wide = tags.get(262) == 8
    base: dict[int, int | list[int]] = {256: 1, 257: 1, 258: [8] * 3 if wide else [16], 262: 1, 277: 3 if wide else 1}
    with pytest.raises(UnsupportedMediaType):
        decode(tiff("<", base | tags, bytes(4)))


def test_no_bytes_are_an_empty_image() -> None:
    with pytest.raises(InvalidImage, match="empty"):
        decode(b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_anywhere_is_an_error(kind: str) -> None:
    data = files()[kind]
    for length in range(2, len(data)):
        if kind != "JPEG" or length < len(data) - 2:  # a JPEG that lacks its end mark alone is whole
            with pytest.raises(InvalidImage):
                decode(data[:length])


@pytest.mark.parametrize("name", sorted(files()))
def test_every_kind_cut_in_its_first_frame_is_an_error(name: str) -> None:
    data = files()[name]
    with pytest.raises(InvalidImage):
        decode(data[: len(data) // (4 if "frames" in name else 2)])


def test_the_message_carries_nothing_of_the_decoders() -> None:
    with pytest.raises(InvalidImage) as caught:
        decode(files()["PNG"][:60] + b"?" * 40)
    assert "0x" not in caught.value.message
    assert caught.value.__context__ is None


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(files())), st.integers(0, 2**32), st.integers(0, 12), st.floats(0, 1))
def test_a_damaged_file_is_an_image_or_an_error_of_ours(name: str, seed: int, changes: int, kept: float) -> None:
    draw = random.Random(seed)
    data = bytearray(files()[name])
    for _ in range(changes):
        # Most of what matters stands at the beginning, or for a TIFF at the end.
        place = draw.choice([draw.randrange(len(data)), draw.randrange(80), -1 - draw.randrange(200)])
        data[place % len(data)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
    if kept < 0.5:
        del data[int(2 * kept * len(data)) :]
    try:
        image = decode(bytes(data))
    except RunnerError:
        return
    assert image.mode == "RGB"


@pytest.mark.parametrize(
    ("size", "side", "decoded"),
    [
        ((640, 480), 192, (320, 240)),
        ((640, 480), 384, (640, 480)),
        ((4000, 3000), 384, (1000, 750)),
        ((4000, 3000), 192, (500, 375)),
        ((100, 80), 192, (100, 80)),
        ((3000, 100), 50, (1500, 50)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_it_is_needed(
    size: tuple[int, int], side: int, decoded: tuple[int, int]
) -> None:
    assert decode(saved(gradient(*size), "JPEG"), side).size == decoded


def test_other_kinds_are_decoded_whole() -> None:
    assert decode(saved(gradient(640, 480), "PNG"), 128).size == (640, 480)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_any_colours_decoded_smaller_shows_the_same(mode: str) -> None:
    file = saved(gradient(640, 480).convert(mode), "JPEG", quality=95)
    small, whole = decode(file, 192), decode(file)
    assert (small.mode, small.size) == ("RGB", (320, 240))
    difference = np.asarray(small, int) - np.asarray(whole.resize((320, 240), Image.Resampling.BOX), int)
    assert np.abs(difference).mean() < 3
