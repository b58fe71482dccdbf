"""What a picture may cost: sizes judged from the header, and the memory that the worst files take."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from runners.errors import InvalidImage, PayloadTooLarge, RunnerError
from runners.images.decode import MAX_BYTES, MAX_PIXELS, MAX_SIDE, decode
from tests.inputs.tiffs_made import two_tiles, zeros
from tests.runners.images.test_decode import files, gradient, png, rle8, saved, tiff

GROWTH = 300_000_000

MEASURE = """
import json, sys
from pathlib import Path
from runners.errors import RunnerError
from runners.images.decode import decode

def memory(line):
    status = Path("/proc/self/status").read_text()
    return int(status.split(line + ":")[1].split()[0]) * 1024

grown = {}
for path in [Path(sys.argv[1]) / "first", *sorted(Path(sys.argv[1]).iterdir())]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = memory("VmRSS")
    data = path.read_bytes()
    try:
        decode(data).close()
        said = 200
    except RunnerError as error:
        said = error.status
    del data
    grown[path.name] = [memory("VmHWM") - before, said]
print(json.dumps(grown))
"""


def deflated(size: int, head: bytes = b"") -> bytes:
    """``head`` and zeros: a thousand times smaller than what it stands for."""
    packer = zlib.compressobj(1)
    parts = [packer.compress(head), *(packer.compress(bytes(min(10**6, size - at))) for at in range(0, size, 10**6))]
    return b"".join([*parts, packer.flush()])


def large_png(width: int, height: int, depth: int, colour: int, row: int, **chunks: bytes) -> bytes:
    data = png(width, height, depth, colour, b"", **chunks)
    body = deflated(height * (row + 1))
    chunk = struct.pack(">L", len(body)) + b"IDAT" + body + struct.pack(">L", zlib.crc32(b"IDAT" + body))
    return data[: data.index(b"IDAT") - 4] + chunk + data[data.index(b"IEND") - 4 :]


def large_tiff(side: int, samples: int, bits: int, rows: int, *, apart: bool = True) -> bytes:
    strip, count = deflated(rows * side * samples * bits // 8), -(-side // rows)
    tags: dict[int, int | list[int]] = {256: side, 257: side, 258: [bits] * samples, 259: 8, 262: 2}
    tags |= {277: samples, 278: rows} | ({338: [2]} if samples == 4 else {})
    if count == 1:
        return tiff("<", tags, strip)
    step = len(strip) if apart else 0
    offsets = struct.pack(f"<{count}L", *(8 + step * number for number in range(count)))
    sizes = struct.pack(f"<{count}L", *[len(strip)] * count)
    strip *= count if apart else 1
    data = tiff("<", tags | {273: 1, 279: 1}, strip)
    at = len(data)
    for tag, place in ((273, at), (279, at + len(offsets))):
        entry = data.index(struct.pack("<HHL", tag, 4, 1), 8 + len(strip))
        data = data[:entry] + struct.pack("<HHLL", tag, 4, count, place) + data[entry + 12 :]
    return data + offsets + sizes


def directory_bomb() -> bytes:
    """EXIF of 5,000 entries, each of which claims the whole block of 60 kB: 300 MB to whoever reads them all."""
    entries = b"".join(struct.pack("<HHLL", 1000 + n, 7, 60_000, 8) for n in range(5000))
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, 5000) + entries + bytes(4)


def with_segments(jpeg: bytes, segment: bytes, number: int) -> bytes:
    return jpeg[:2] + segment * number + jpeg[2:]


def worst() -> Iterator[tuple[str, bytes]]:
    """Each with the most that it could make a decoder do, and what is to be said of it."""
    yield (
        "200 PNG of 16-bit RGBA",
        large_png(5000, 5000, 16, 6, 40_000, eXIf=b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6"),
    )
    yield "200 PNG of a clear palette", large_png(5000, 5000, 8, 3, 5000, PLTE=b"\0\0\0", tRNS=b"\1")
    text = struct.pack(">L4s", 4, b"tEXt") + b"ab\0c" + struct.pack(">L", zlib.crc32(b"tEXtab\0c"))
    small = files()["PNG"]
    yield "400 PNG of a million notes", small[:33] + text * ((MAX_BYTES - 9000) // len(text)) + small[33:]
    profile = b"icc\0\0" + deflated(200_000_000)
    yield "200 PNG of a profile of 200 MB", png(1, 1, 8, 0, b"\0\0", iCCP=profile)
    plain = Image.new("RGB", (5000, 5000), (9, 99, 199))
    yield "200 JPEG in several scans", saved(plain, "JPEG", progressive=True, subsampling=0)
    ink = Image.new("CMYK", (4500, 4500), (9, 99, 199, 0))
    yield "200 JPEG of CMYK in several scans", saved(ink, "JPEG", progressive=True)
    jpeg = saved(gradient(), "JPEG")
    yield "400 JPEG of millions of segments", with_segments(jpeg, b"\xff\xe5\0\2", 4_000_000)
    bomb = directory_bomb()
    yield "200 JPEG of long EXIF", with_segments(jpeg, b"\xff\xe1" + struct.pack(">H", len(bomb) + 2) + bomb, 200)
    web = saved(plain.resize((5800, 4000)), "WEBP", quality=1, method=0)
    yield "200 WebP", web
    yield "413 WebP in many bytes", web + bytes(9_000_000)
    yield "200 WebP of clear pixels", saved(Image.new("RGBA", (5800, 4000)), "WEBP", lossless=True, quality=0, method=0)
    page = Image.new("P", (5000, 5000))
    page.putpalette([9, 99, 199])
    yield "200 GIF of clear pixels", saved(page, "GIF", transparency=0)
    yield "200 BMP of run lengths", rle8(2000, 2000, b"\1\1\0\0" * 2000)
    yield "413 BMP of too many run lengths", rle8(2000, 2001, b"\1\1\0\0" * 2001)
    yield "200 TIFF of 16-bit RGBA in strips", large_tiff(5000, 4, 16, 50)
    yield "200 TIFF of 16-bit RGB in one strip", large_tiff(5000, 3, 16, 5000)
    yield "413 TIFF of 16-bit RGBA in one strip", large_tiff(5000, 4, 16, 5000)
    yield "200 TIFF of 16-bit RGB in strips of LZW", zeros(5000, 5, 20)
    yield "413 TIFF of 16-bit RGB in one strip of LZW", zeros(3800, 5, 3800)
    yield "200 TIFF of 16-bit planes in strips of ZSTD", zeros(4000, 50000, 20, apart=True)
    yield "200 TIFF of 16-bit planes in one strip each", zeros(5000, 8, 5000, apart=True)
    yield "200 TIFF of 16-bit RGB in two tiles", two_tiles(5000)
    yield "200 BigTIFF of doubles", zeros(4000, 8, 20, "f8", big=True)
    yield "413 TIFF of too many bytes of samples", zeros(5000, 8, 20, "f8")
    yield "413 TIFF of floats in one strip", zeros(5000, 8, 5000, "f4")
    huge: dict[int, int | list[int]] = {256: 10, 257: 10, 258: [8], 259: 8, 262: 1, 322: 60_000, 323: 60_000}
    huge |= {324: 8, 325: 9}
    tile = tiff("<", huge, b"abcdefghi")
    yield "400 TIFF of strips and of a huge tile", tile
    bare = [at for at in range(len(tile)) if tile[at : at + 4] in {b"\x11\1\4\0", b"\x17\1\4\0"}]
    for at in bare:  # the strips' two entries become unknown ones
        tile = tile[:at] + b"\xff\xff" + tile[at + 2 :]
    yield "413 TIFF of a huge tile", tile
    entries = b"".join(struct.pack("<HHLL", 60000, 7, 15_000_000, 8) for n in range(60_000))
    yield "400 TIFF of a huge directory", b"II*\0" + struct.pack("<LH", 8, 60_000) + entries + bytes(15_000_000)


@pytest.mark.server
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are counted by Linux")
def test_no_file_makes_the_process_grow_by_more_than_300_mb(tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(files()["PNG"])  # imports and caches are nobody's growth
    for name, data in worst():
        assert len(data) <= MAX_BYTES, name
        (tmp_path / name).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True)
    grown = json.loads(done.stdout)
    del grown["first"]
    assert {name: said for name, (_, said) in grown.items()} == {name: int(name[:3]) for name in grown}
    assert max((size, name) for name, (size, _) in grown.items()) <= (GROWTH, "")


@pytest.mark.parametrize(
    ("width", "height"), [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (5000, 5001), (2**31 - 1, 2**31 - 1)]
)
def test_sizes_over_the_limit_are_told_by_the_header_alone(width: int, height: int) -> None:
    heads = [png(width, height, 8, 2, b""), tiff("<", {256: width, 257: height}, b"x")]
    heads.append(b"BM" + bytes(12) + struct.pack("<LllHHLLllLL", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0))
    if width < 2**14:
        frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 17, 8, height, width, 3) + bytes(9)
        heads.append(b"\xff\xd8" + frame + b"\xff\xda\0\2")
        vp8x = b"VP8X\x0a\0\0\0\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        heads.append(b"RIFF\x16\0\0\0WEBP" + vp8x)
        heads.append(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0")
        heads.append(b"GIF89a\1\0\1\0\0\0\0" + struct.pack("<BHHHHB", 0x2C, 1, 1, width - 1, height - 1, 0))
    for head in heads:
        with pytest.raises(PayloadTooLarge, match="pixels"):
            decode(head)


@pytest.mark.parametrize("size", [(MAX_SIDE, 2), (2, MAX_SIDE), (5000, MAX_PIXELS // 5000)])
def test_the_limits_themselves_are_allowed(size: tuple[int, int]) -> None:
    assert decode(saved(Image.new("L", size), "PNG")).size == size


def test_bytes_over_the_limit_are_told_before_anything_is_read() -> None:
    picture = files()["PNG"]
    assert decode(picture.ljust(MAX_BYTES, b"\0")).size == (24, 16)
    with pytest.raises(PayloadTooLarge, match="bytes"):
        decode(picture.ljust(MAX_BYTES + 1, b"\0"))


def test_a_gif_whose_first_frame_is_larger_than_its_canvas_grows_to_it() -> None:
    data = files()["GIF"]
    assert decode(data[:6] + b"\1\0\1\0" + data[10:]).size == (24, 16)


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    data = saved(gradient(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(InvalidImage):
        decode(data[:-2] + last * 200 + data[-2:])


@pytest.mark.parametrize("tag", [256, 257, 259, 273, 278, 279])
@pytest.mark.parametrize("value", [0, 2, 7, 2**31, 2**32 - 1])
def test_a_tiff_that_promises_what_it_has_not_is_an_error_of_ours(tag: int, value: int) -> None:
    tags: dict[int, int | list[int]] = {256: 2, 257: 2, 258: [8], 262: 1, 278: 2, tag: value}
    with suppress(RunnerError):
        assert decode(tiff("<", tags, b"abcd")).mode == "RGB"


def test_a_tiffs_second_entry_of_one_tag_is_refused() -> None:
    data = tiff("<", {256: 2, 257: 2, 258: [8], 262: 1, 278: 2, 300: 9}, b"abcd")
    twice = data.replace(struct.pack("<HHLL", 300, 4, 1, 9), struct.pack("<HHLL", 256, 4, 1, 9))
    with pytest.raises(InvalidImage):
        decode(twice)


def test_strips_that_all_lie_on_one_another_are_refused() -> None:
    data = large_tiff(5000, 3, 8, 1, apart=False)
    with pytest.raises(InvalidImage):
        decode(data)


def test_a_stream_of_any_size_after_the_picture_is_not_read() -> None:
    trailing = BytesIO()
    gradient().save(trailing, "JPEG")
    trailing.write(b"\xff\xda\0\2" * 1000)
    assert decode(trailing.getvalue()).size == (24, 16)
