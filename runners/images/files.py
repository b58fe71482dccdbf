"""Reads the header of an image file before decoding, and strips everything from the file that is not pixels.

Comments, profiles, thumbnails and further frames can make a small file large in a decoder. They are removed before
Pillow sees the file; the orientation, the only metadata needed here, is read separately.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from runners.errors import InvalidImage, PayloadTooLarge, UnsupportedMediaType
from runners.images import tiff
from runners.limits import check_size

MAX_SEGMENTS: Final = 100_000
"""Chunks or segments in one file, at most: each costs an object, and a file of 16 MiB can hold millions."""

MAX_SCANS: Final = 100
"""Scans of one JPEG, at most: each processes the whole picture, and costs an attacker only a few bytes."""

MAX_RUN_LENGTHS: Final = 4_000_000
"""Pixels and bytes of a run-length BMP, at most: Pillow decodes it in Python, pixel by pixel."""

JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xfe])")
"""The last fill byte of a marker, and its code. Matching all fill bytes (``\xff+``) would make the search quadratic."""

ACCEPTED: Final = "The image must be a JPEG, PNG, WebP, GIF, BMP or TIFF (8 or 16 bit)."
TRUNCATED: Final = "The image ends too early."


@dataclass(frozen=True)
class ImageFile:
    """A file ready for the decoder of its format; ``kind`` is Pillow's format name."""

    kind: str
    width: int
    height: int
    content: bytes
    decoding: int = 0
    """Bytes that the decoder holds at once besides the pixels and the file."""
    orientation: int = 1
    raster: tiff.Tiff | None = None
    """The TIFF of measured values, which ``rasters`` decodes."""


def read(data: bytes) -> ImageFile:
    """Read the header. Raises RunnerError if the file must not be decoded, ValueError or similar if it is corrupt."""
    for magic, reader in READERS.items():
        if re.match(magic, data, re.DOTALL):
            return reader(data)
    if len(data) < 18 and data[:2] in {b"\xff\xd8", b"\x89P", b"RI", b"GI", b"BM", b"II", b"MM"}:
        raise InvalidImage(TRUNCATED)
    raise UnsupportedMediaType(ACCEPTED)


def _pieces(chunks: Iterator[tuple[bytes, int, int]]) -> Iterator[tuple[bytes, int, int]]:
    for number, piece in enumerate(chunks):
        if number >= MAX_SEGMENTS:
            raise ValueError("too many pieces")
        yield piece


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">L4s", data, position)
        start, position = position + 8, position + 12 + length
        if position > len(data):
            raise InvalidImage(TRUNCATED)
        yield name, start, start + length


def _png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">L", len(payload)) + name + payload + struct.pack(">L", zlib.crc32(name + payload))


def _png_key(payload: bytes, depth: int, colour: int) -> bytes:
    """Convert the transparent colour to the 8 bits that Pillow makes of greys of 2 or 4 bits and of 16-bit RGB."""
    if colour == 0 and depth in {2, 4}:
        return struct.pack(">H", struct.unpack(">H", payload)[0] * 255 // ((1 << depth) - 1))
    if colour == 2 and depth == 16:
        return struct.pack(">3H", *(value >> 8 for value in struct.unpack(">3H", payload)))
    return payload


def _png(data: bytes) -> ImageFile:
    kept, exif = [data[:8]], b""
    length, name, width, height, depth, colour = struct.unpack_from(">L4sLLBB", data, 8)
    if (length, name) != (13, b"IHDR"):
        raise ValueError("no header")
    check_size(width, height)
    for name, start, end in _pieces(_png_chunks(data)):
        if name in {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}:
            payload = data[start:end]
            if zlib.crc32(name + payload) != struct.unpack_from(">L", data, end)[0]:
                raise ValueError("checksum")
            if name == b"IHDR" and start != 16:
                raise ValueError("a second header")
            kept.append(_png_chunk(name, _png_key(payload, depth, colour) if name == b"tRNS" else payload))
        elif name == b"eXIf":
            exif = exif or data[start:end]
    return ImageFile("PNG", width, height, b"".join(kept), orientation=tiff.orientation(exif))


def _jpeg_segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position, marker = 2, b""
    while marker != b"\xda":
        match = JPEG_MARKER.search(data, position)
        if not match:
            raise InvalidImage(TRUNCATED)
        marker, start = match[1], match.end()
        if marker == b"\xd9":
            raise InvalidImage(TRUNCATED)
        standalone = marker == b"\x01" or b"\xd0" <= marker <= b"\xd8"
        position = start if standalone else start + struct.unpack_from(">H", data, start)[0]
        yield marker, start, position


def _jpeg(data: bytes) -> ImageFile:
    kept, frame, exif = [b"\xff\xd8"], b"", b""
    for marker, start, end in _pieces(_jpeg_segments(data)):
        if marker in b"\xc0\xc1\xc2":
            if frame:
                raise ValueError("a second frame header")
            frame = marker + data[start:end]
        elif b"\xc3" <= marker <= b"\xcf" and marker not in b"\xc4\xcc":
            raise UnsupportedMediaType(ACCEPTED)
        if marker == b"\xe1" and data[start + 2 : start + 8] == b"Exif\0\0":
            exif = exif or data[start + 8 : end]
        if marker == b"\xda":
            return _jpeg_file(data, kept, frame, start, tiff.orientation(exif))
        # Frame, tables and restarts; JFIF and Adobe's segment (e0, ee) tell the decoder the colour space.
        if b"\xc0" <= marker <= b"\xcf" or marker in b"\xdb\xdd\xe0\xee":
            kept.append(b"\xff" + marker + data[start:end])
    raise InvalidImage(TRUNCATED)


def _jpeg_file(data: bytes, kept: list[bytes], frame: bytes, scan: int, orientation: int) -> ImageFile:
    height, width, components = struct.unpack_from(">HHB", frame, 4)
    check_size(width, height)
    end = data.find(b"\xff\xd9", scan)
    pixels = b"\xff\xda" + data[scan : end + 2 if end > 0 else len(data)]
    if pixels.count(b"\xff\xda") > MAX_SCANS:
        raise ValueError("too many scans")
    # The decoder keeps a picture in several scans as coefficients of two bytes until the last scan.
    several = frame[:1] == b"\xc2" or data[scan + 2] < components
    decoding = 2 * components * width * height if several else 0
    return ImageFile("JPEG", width, height, b"".join([*kept, pixels]), decoding, orientation)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    end = 8 + struct.unpack_from("<L", data, 4)[0]
    if end > len(data):
        raise InvalidImage(TRUNCATED)
    position = 12
    while position + 8 <= end:
        name, length = struct.unpack_from("<4sL", data, position)
        start, position = position + 8, position + 8 + length + length % 2
        if start + length > end:
            raise InvalidImage(TRUNCATED)
        yield name, start, start + length


def _webp_size(name: bytes, head: bytes) -> tuple[int, int]:
    if name == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if name == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 6)
    return width & 0x3FFF, height & 0x3FFF


def _webp(data: bytes) -> ImageFile:
    kept: list[bytes] = []
    first, exif, pictures = b"", b"", 0
    size = _webp_size(data[12:16], data[20:30])
    check_size(*size)
    for name, start, end in _pieces(_webp_chunks(data)):
        first = first or name
        kept_chunk = name in {b"VP8X", b"ANIM", b"ALPH"} and not pictures
        if name in {b"VP8 ", b"VP8L", b"ANMF"}:
            kept_chunk, pictures = not pictures, pictures + 1
        if kept_chunk:
            payload = data[start:end]
            if name == b"VP8X":  # bits 2, 3 and 5 announce XMP, EXIF and a colour profile
                payload = bytes([payload[0] & 0b11010011]) + payload[1:]
            kept.append(name + struct.pack("<L", end - start) + payload + b"\0" * (len(payload) % 2))
        elif name == b"EXIF":
            exif = exif or data[start:end]
        if pictures and first != b"VP8X":
            break  # the simple format has one chunk
    body = b"WEBP" + b"".join(kept)
    # The decoder keeps two canvases; Pillow copies one, then frees the decoder before it creates the pixels.
    decoding, orientation = 8 * size[0] * size[1], tiff.orientation(exif.removeprefix(b"Exif\0\0"))
    return ImageFile("WEBP", *size, b"RIFF" + struct.pack("<L", len(body)) + body, decoding, orientation)


def _past_blocks(data: bytes, position: int) -> int:
    """Return the position after a GIF's blocks, which begin with their length and end with an empty block."""
    while length := data[position]:
        position += 1 + length
    return position + 1


def _past_palette(flags: int, position: int) -> int:
    return position + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


def _gif_extensions(data: bytes, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield what precedes a GIF's first picture: extensions by label, and stray bytes, which decoders skip."""
    while data[position] != 0x2C:
        start, label = position, data[position + 1 : position + 2]
        if data[position] == 0x3B:
            raise ValueError("no picture")
        if data[position] == 0x21:
            position = _past_blocks(data, position + 2)
            yield label, start, position
        else:
            position += 1
            yield b"", start, position


def _gif(data: bytes) -> ImageFile:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = _past_palette(flags, 13)
    head, control = data[:position], b""
    for label, start, end in _pieces(_gif_extensions(data, position)):
        position, control = end, data[start:end] if label == b"\xf9" else control
    left, top, right, down, flags = struct.unpack_from("<4HB", data, position + 1)
    width, height = max(width, left + right), max(height, top + down)
    check_size(width, height)
    end = _past_blocks(data, _past_palette(flags, position + 10) + 1)
    if end >= len(data):
        raise InvalidImage(TRUNCATED)
    return ImageFile("GIF", width, height, head + control + data[position:end] + b";")


def _bmp(data: bytes) -> ImageFile:
    core = data[14] == 12
    width, height = struct.unpack_from("<HH" if core else "<ll", data, 18)
    height = abs(height)
    check_size(width, height)
    run_lengths = not core and struct.unpack_from("<L", data, 30)[0] in {1, 2}
    if run_lengths and max(width * height, len(data)) > MAX_RUN_LENGTHS:
        raise PayloadTooLarge(f"A BMP of run lengths may have {MAX_RUN_LENGTHS:,} pixels and bytes at most.")
    return ImageFile("BMP", width, height, data, 3 * width * height if run_lengths else 0)


def _tiff(data: bytes) -> ImageFile:
    try:
        image = tiff.read(data)
    except tiff.UnknownKind as error:
        raise UnsupportedMediaType(f"This TIFF is not read: {error}.") from None
    raster = image if image.is_raster else None
    return ImageFile("TIFF", image.width, image.height, image.content, image.decoding, image.orientation, raster)


READERS: Final[dict[bytes, Callable[[bytes], ImageFile]]] = {
    rb"\xff\xd8\xff": _jpeg,
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"RIFF....WEBP": _webp,
    rb"GIF8[79]a": _gif,
    rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0": _bmp,
    rb"II\*\0|MM\0\*": _tiff,
    rb"II\+\0\x08\0\0\0|MM\0\+\0\x08\0\0": _tiff,
}
