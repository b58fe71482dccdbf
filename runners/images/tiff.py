"""Reads and checks a TIFF's directory, also that of EXIF, and rewrites the file with only the entries for decoding.

The new directory has the classic form and contains only checked numbers: a BigTIFF of at most 16 MiB becomes readable
for every decoder, and no part of a hostile directory reaches a decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from runners.errors import InvalidImage, PayloadTooLarge
from runners.limits import MAX_PIXELS, check_size

MAX_VALUES: Final = 100_000
"""Values of one entry, at most: 25 megapixels in tiles of 16 x 16."""

MAX_SAMPLE_BYTES: Final = 400_000_000
"""Bytes of all samples, at most: 25 megapixels of eight 16-bit bands. A file of 16 MiB can unpack to 16 GB."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
STRIPS, SAMPLES, ROWS, STRIP_SIZES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
NO_DATA: Final = 42113
"""GDAL's tag with the "no data" value as text."""
NUMBERS: Final = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, ROWS, STRIP_SIZES, PLANAR, PREDICTOR}
NUMBERS_OF_TILES: Final = {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT}
# Bit order, palette, JPEG tables, and the three of YCbCr pass unread to the decoder.
OTHERS: Final = {266, 320, 347, 529, 530, 532}

RAW, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE, ZSTD = 1, 5, 7, 8, 32773, 32946, 50000
# Fax (2, 3, 4) continues after errors and writes a line to stderr for each row; LZMA lets the file choose its memory.
COMPRESSIONS: Final = {RAW, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE, ZSTD}
COMPRESSION_NAMES: Final = {
    2: "CCITT run lengths",
    3: "CCITT Group 3",
    4: "CCITT Group 4",
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50001: "WebP",
    50002: "JPEG XL",
}
ZSTD_WINDOW: Final = 128 * 1024 * 1024
"""Bytes of the largest window that a file can make libtiff's ZSTD decoder allocate."""

SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by TIFF's type number."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
PREMULTIPLIED, PLAIN_ALPHA = 1, 2

Tags = Mapping[int, tuple[int, ...]]


class UnknownKind(Exception):
    """The TIFF has samples or a compression that are not supported; the message is for the client."""


@dataclass(frozen=True)
class Tiff:
    """A TIFF's first picture, checked. ``content`` is the file with the rewritten directory."""

    width: int
    height: int
    content: bytes
    tags: Tags = field(repr=False)
    order: str = "<"
    no_data: float | None = None
    orientation: int = 1

    def one(self, tag: int, default: int | None = None) -> int:
        """Return the single value of a tag. Raises ValueError for none or several."""
        return _one(self.tags, tag, default)

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return self.tags.get(BITS, (1,))[0]

    @property
    def is_raster(self) -> bool:
        """Whether the samples are measured values: over 8 bits, signed, many bands, planar, or with "no data"."""
        if self.one(PHOTOMETRIC, BLACK_IS_ZERO) not in {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB}:
            return False
        if self.bits > 8 or self.tags.get(FORMAT, (UNSIGNED,))[0] != UNSIGNED:
            return True
        special = self.one(SAMPLES, 1) > 4 or self.one(PLANAR, 1) == 2 or self.no_data is not None
        special |= self.tags.get(EXTRA, ())[:1] == (PREMULTIPLIED,)
        return self.bits == 8 and special and self.one(COMPRESSION, RAW) != JPEG

    @property
    def pieces(self) -> tuple[int, int]:
        """Width and height of a strip or tile in pixels."""
        return _pieces(self.tags, self.width, self.height)

    @property
    def decoding(self) -> int:
        """Bytes held besides the pixels and the file: a strip or tile, or a row of them and its copies."""
        compression, samples = self.one(COMPRESSION, RAW), self.one(SAMPLES, 1)
        across, down = self.pieces
        window = ZSTD_WINDOW if compression == ZSTD else 0
        if self.is_raster:
            copies = 1 if compression in {RAW, DEFLATE, OLD_DEFLATE} else 3
            return copies * -(-self.width // across) * across * down * samples * self.bits // 8 + window
        if compression == RAW:
            return 0
        sample_bytes = max(4, samples * self.bits // 8)
        return across * down * (sample_bytes + (2 * max(samples, 3) if compression == JPEG else 0)) + window


class Entry(NamedTuple):
    """A directory entry, with the position of its values in the file."""

    tag: int
    kind: int
    values: int
    position: int


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if EXIF is missing or corrupt, which must not reject the picture."""
    try:
        order, entries = _directory(exif)
        return _orientation(exif, order, entries)
    except (struct.error, ValueError, KeyError, InvalidImage):
        return 1


def read(data: bytes) -> Tiff:
    """Read and check a TIFF. Raises PayloadTooLarge and UnknownKind, ValueError or similar if it is corrupt."""
    order, entries = _directory(data)
    kept = [entry for entry in entries if entry.tag in NUMBERS | NUMBERS_OF_TILES | OTHERS]
    if len({entry.tag for entry in kept}) < len(kept):
        raise ValueError("two entries of one tag")  # decoders disagree about which entry counts
    if any(entry.values > MAX_VALUES for entry in kept):
        raise ValueError("an entry of too many values")
    tags = {entry.tag: _numbers(data, order, entry) for entry in kept if entry.tag not in OTHERS}
    width, height = _one(tags, WIDTH), _one(tags, HEIGHT)
    check_size(width, height)
    _check_kind(tags)
    _check_layout(tags, width, height, len(data))
    content = _with_directory(data, order, _as_colours(tags), [entry for entry in kept if entry.tag in OTHERS])
    no_data = next((_no_data(data, entry) for entry in entries if entry.tag == NO_DATA), None)
    return Tiff(width, height, content, tags, order, no_data, _orientation(data, order, entries))


def _directory(data: bytes) -> tuple[str, list[Entry]]:
    """Return the byte order as ``struct`` writes it, and the first directory of a classic TIFF or BigTIFF."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (magic,) = struct.unpack_from(order + "H", data, 2)
    if magic not in {42, 43}:
        raise ValueError("no TIFF")
    big = magic == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, size, head, inline = (start + 8, 20, "HHQ", 8) if big else (start + 2, 12, "HHL", 4)
    if first + size * count > len(data):
        raise InvalidImage("The image ends too early.")
    entries = []
    for position in range(first, first + size * count, size):
        tag, kind, values = struct.unpack_from(order + head, data, position)
        offset = position + size - inline
        if values * SIZES.get(kind, 1) > inline:
            (offset,) = struct.unpack_from(order + ("Q" if big else "L"), data, offset)
        entries.append(Entry(tag, kind, values, offset))
    return order, entries


def _numbers(data: bytes, order: str, entry: Entry) -> tuple[int, ...]:
    letter = {3: "H", 4: "L", 16: "Q"}[entry.kind]
    return struct.unpack_from(f"{order}{entry.values}{letter}", data, entry.position)


def _no_data(data: bytes, entry: Entry) -> float | None:
    try:
        return float(data[entry.position : entry.position + min(entry.values, 64)].split(b"\0")[0])
    except ValueError:
        return None


def _orientation(data: bytes, order: str, entries: list[Entry]) -> int:
    for entry in entries:
        if entry.tag == ORIENTATION and entry.values == 1 and entry.kind in {3, 4}:
            (value,) = _numbers(data, order, entry)
            return value if 1 <= value <= 8 else 1
    return 1


def _one(tags: Tags, tag: int, default: int | None = None) -> int:
    values = tags.get(tag, () if default is None else (default,))
    if len(values) != 1:
        raise ValueError("not one value")
    return values[0]


def _check_kind(tags: Tags) -> None:
    compression, samples = _one(tags, COMPRESSION, RAW), _one(tags, SAMPLES, 1)
    photometric = _one(tags, PHOTOMETRIC, BLACK_IS_ZERO)
    bits, formats = set(tags.get(BITS, (1,))), set(tags.get(FORMAT, (UNSIGNED,)))
    if compression not in COMPRESSIONS:
        name = COMPRESSION_NAMES.get(compression, f"method {compression}")
        raise UnknownKind(f"its compression is {name}; none, LZW, deflate, ZSTD, PackBits and JPEG are read")
    if photometric not in {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR}:
        raise UnknownKind("its colours are neither grey, RGB, a palette, CMYK nor YCbCr")
    if len(bits) != 1 or len(formats) != 1 or (*bits, *formats) not in READABLE:
        raise UnknownKind("its samples are neither of 1, 2, 4, 8, 16, 32 or 64 bits nor floats of 32 or 64 bits")
    if photometric == BLACK_IS_ZERO and samples > 4:
        raise UnknownKind(f"it has {samples} bands, and nothing says which are red, green and blue; 1 to 4 are read")
    _check_raster(compression, photometric, samples, *bits)


READABLE: Final = {(bits, UNSIGNED) for bits in (1, 2, 4, 8, 16, 32, 64)} | {
    *((bits, SIGNED) for bits in (8, 16, 32, 64)),
    *((bits, FLOAT) for bits in (32, 64)),
}


def _check_raster(compression: int, photometric: int, samples: int, bits: int) -> None:
    if samples > 64 or (bits < 8 and samples > 1):
        raise UnknownKind(f"it has {samples} bands of {bits} bits")
    if bits > 8 and (compression == JPEG or photometric in {PALETTE, YCBCR} or (bits > 16 and photometric == CMYK)):
        raise UnknownKind(f"its samples of {bits} bits are neither grey nor RGB, or are compressed as JPEG")
    if compression == JPEG and samples > 4:
        raise UnknownKind("it has more than four bands compressed as JPEG")


def _pieces(tags: Tags, width: int, height: int) -> tuple[int, int]:
    if TILE_WIDTH in tags:
        return _one(tags, TILE_WIDTH), _one(tags, TILE_HEIGHT)
    return width, min(_one(tags, ROWS, height), height)


def _check_layout(tags: Tags, width: int, height: int, length: int) -> None:
    tiled = TILE_WIDTH in tags
    if tiled == (STRIPS in tags) or tiled != (TILES in tags):
        raise ValueError("neither strips nor tiles, or both")
    across, down = _pieces(tags, width, height)
    columns, rows = -(-width // across), -(-height // down)
    if columns * across * rows * down > 2 * MAX_PIXELS:
        raise PayloadTooLarge("The TIFF's tiles are much larger than its picture.")
    if columns * across * rows * down * _one(tags, SAMPLES, 1) * max(tags.get(BITS, (1,))) // 8 > MAX_SAMPLE_BYTES:
        raise PayloadTooLarge(f"The samples of a TIFF may have {MAX_SAMPLE_BYTES:,} bytes at most.")
    number = columns * rows * (_one(tags, SAMPLES, 1) if _one(tags, PLANAR, 1) == 2 else 1)
    _check_pieces(tags[TILES if tiled else STRIPS], tags.get(TILE_SIZES if tiled else STRIP_SIZES), number, length)


def _check_pieces(offsets: tuple[int, ...], sizes: tuple[int, ...] | None, number: int, length: int) -> None:
    if len(offsets) != number or (sizes is not None and len(sizes) != number):
        raise ValueError("not as many pieces as the picture has")
    if any(offset + size > length for offset, size in zip(offsets, sizes or (1,) * number, strict=True)):
        raise InvalidImage("The image ends too early.")
    if sum(sizes or ()) > 4 * length:
        raise ValueError("pieces that overlap")  # repeated reads of one piece would take hours


def _as_colours(tags: Tags) -> Tags:
    """Mark three or four bands that GDAL labels as grey as red, green, blue and an extra band."""
    samples, photometric = _one(tags, SAMPLES, 1), _one(tags, PHOTOMETRIC, BLACK_IS_ZERO)
    if photometric == BLACK_IS_ZERO and samples in {3, 4}:
        return {**tags, PHOTOMETRIC: (RGB,), EXTRA: (0,) * (samples - 3)}
    if photometric == BLACK_IS_ZERO and samples == 2 and EXTRA not in tags:
        return {**tags, EXTRA: (0,)}
    return tags


def _with_directory(data: bytes, order: str, tags: Tags, others: Sequence[Entry]) -> bytes:
    """Return the file with one classic directory of ``tags`` and the entries ``others``."""
    kept = {tag: (4, len(values), struct.pack(f"{order}{len(values)}L", *values)) for tag, values in tags.items()}
    for tag, kind, values, position in others:
        kept[tag] = (kind, values, data[position : position + values * SIZES.get(kind, 1)])
        if len(kept[tag][2]) < values * SIZES.get(kind, 1):
            raise InvalidImage("The image ends too early.")
    return classic(data, order, {tag: kept[tag] for tag in sorted(kept) if kept[tag][1]})


def classic(data: bytes, order: str, entries: Mapping[int, tuple[int, int, bytes]]) -> bytes:
    """Return a TIFF of ``data``, whose first 8 bytes become the header; entries are type, count and bytes by tag."""
    position = len(data) + len(data) % 2
    arrays, directory = b"", struct.pack(order + "H", len(entries))
    for tag, (kind, count, values) in entries.items():
        inline = len(values) <= 4
        field = values.ljust(4, b"\0") if inline else struct.pack(order + "L", position + len(arrays))
        directory += struct.pack(order + "HHL", tag, kind, count) + field
        arrays += b"" if inline else values + b"\0" * (len(values) % 2)
    magic = {"<": b"II", ">": b"MM"}[order]
    header = magic + struct.pack(order + "HL", 42, position + len(arrays))
    return b"".join([header, data[8:], b"\0" * (len(data) % 2), arrays, directory, bytes(4)])
