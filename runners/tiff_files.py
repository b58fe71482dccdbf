"""A TIFF's directory, which EXIF is too: what it promises, and the file with only the entries that decoding needs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from runners.errors import InvalidImage, PayloadTooLarge
from runners.image_limits import MAX_PIXELS, check_size

MAX_VALUES: Final = 100_000
"""Most values of one entry: 25 megapixels in tiles of 16 x 16."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
STRIPS, SAMPLES, ROWS, STRIP_SIZES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
NUMBERS: Final = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, ROWS, STRIP_SIZES, PLANAR}
NUMBERS_OF_TILES: Final = {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT}
# Bit order, predictor, palette, JPEG tables, and YCbCr's three are for the decoder alone.
OTHERS: Final = {266, 317, 320, 347, 529, 530, 532}

RAW, JPEG = 1, 7
# Raw, LZW, JPEG, deflate (8, 32946), PackBits. Fax (2, 3, 4) goes on after an error and writes a line to stderr for
# each row of it; the others are rare, and some name the memory that they want.
COMPRESSIONS: Final = {RAW, 5, JPEG, 8, 32773, 32946}


class UnknownKind(Exception):
    """A TIFF of samples or compression that is not read here."""


class Tiff(NamedTuple):
    """A TIFF's first picture; ``decoding`` is the bytes of the one strip or tile that the decoder holds at a time."""

    width: int
    height: int
    content: bytes
    decoding: int
    orientation: int


class Entry(NamedTuple):
    """One of a directory's entries, where it stands in the file."""

    tag: int
    kind: int
    values: int
    position: int


def orientation(exif: bytes) -> int:
    """1 to 8; 1 where nothing readable is said: a broken note about a picture does not break the picture."""
    try:
        order, start = _order(exif)
        return _orientation(exif, order, _entries(exif, order, start))
    except (struct.error, ValueError, KeyError, InvalidImage):
        return 1


def read(data: bytes) -> Tiff:
    """Raises PayloadTooLarge and UnknownKind; ValueError and such where the file is corrupt."""
    order, start = _order(data)
    entries = _entries(data, order, start)
    kept = [entry for entry in entries if entry.tag in NUMBERS | NUMBERS_OF_TILES | OTHERS]
    if len({entry.tag for entry in kept}) < len(kept):
        raise ValueError("two entries of one tag")  # readers disagree about which of them counts
    if any(entry.values > MAX_VALUES for entry in kept):
        raise ValueError("an entry of too many values")
    tags = {entry.tag: _numbers(data, order, entry) for entry in kept if entry.tag not in OTHERS}
    width, height = _one(tags, WIDTH), _one(tags, HEIGHT)
    check_size(width, height)
    _check_kind(tags)
    decoding = _check_layout(tags, width, height, len(data))
    content = _with_entries(data, order, start, kept)
    return Tiff(width, height, content, decoding, _orientation(data, order, entries))


def _order(data: bytes) -> tuple[str, int]:
    """The byte order in ``struct``'s signs, and the first directory's position."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    magic, start = struct.unpack_from(order + "HL", data, 2)
    if magic != 42:
        raise ValueError("no TIFF")
    return order, start


def _entries(data: bytes, order: str, start: int) -> list[Entry]:
    (count,) = struct.unpack_from(order + "H", data, start)
    if start + 2 + 12 * count > len(data):
        raise InvalidImage("The image ends too early.")
    positions = range(start + 2, start + 2 + 12 * count, 12)
    return [Entry._make((*struct.unpack_from(order + "HHL", data, position), position)) for position in positions]


def _numbers(data: bytes, order: str, entry: Entry) -> tuple[int, ...]:
    kind, size = {3: ("H", 2), 4: ("L", 4)}[entry.kind]
    position = entry.position + 8
    if entry.values * size > 4:
        (position,) = struct.unpack_from(order + "L", data, position)
    return struct.unpack_from(f"{order}{entry.values}{kind}", data, position)


def _orientation(data: bytes, order: str, entries: list[Entry]) -> int:
    for entry in entries:
        if entry.tag == ORIENTATION and entry.values == 1 and entry.kind in {3, 4}:
            (value,) = _numbers(data, order, entry)
            return value if 1 <= value <= 8 else 1
    return 1


def _one(tags: Mapping[int, tuple[int, ...]], tag: int, default: int | None = None) -> int:
    values = tags.get(tag, () if default is None else (default,))
    if len(values) != 1:
        raise ValueError("not one value")
    return values[0]


def _check_kind(tags: Mapping[int, tuple[int, ...]]) -> None:
    bits = set(tags.get(BITS, (1,)))
    known = bits <= {1, 2, 4, 8, 16} and set(tags.get(FORMAT, (1,))) == {1}
    # Pillow reads 16-bit greys of which 0 is white as if 0 were black.
    negative = bits == {16} and _one(tags, PHOTOMETRIC, 0) == 0
    if not known or negative or _one(tags, COMPRESSION, RAW) not in COMPRESSIONS or _one(tags, SAMPLES, 1) > 8:
        raise UnknownKind


def _check_layout(tags: Mapping[int, tuple[int, ...]], width: int, height: int, length: int) -> int:
    """The most bytes that one strip or tile takes decoded, where the decoder makes it as a whole."""
    tiled = TILE_WIDTH in tags
    if tiled == (STRIPS in tags) or tiled != (TILES in tags):
        raise ValueError("neither strips nor tiles, or both")
    across, down = width, min(_one(tags, ROWS, height), height)
    if tiled:
        across, down = _one(tags, TILE_WIDTH), _one(tags, TILE_HEIGHT)
    columns, rows = -(-width // across), -(-height // down)
    if columns * across * rows * down > 2 * MAX_PIXELS:
        raise PayloadTooLarge("The TIFF's tiles are much larger than its picture.")
    compression, samples = _one(tags, COMPRESSION, RAW), _one(tags, SAMPLES, 1)
    number = columns * rows * (samples if _one(tags, PLANAR, 1) == 2 else 1)
    _check_pieces(tags[TILES if tiled else STRIPS], tags.get(TILE_SIZES if tiled else STRIP_SIZES), number, length)
    if compression == RAW:
        return 0
    sample_bytes = max(4, samples * max(tags.get(BITS, (1,))) // 8)
    return across * down * (sample_bytes + (2 * max(samples, 3) if compression == JPEG else 0))


def _check_pieces(offsets: tuple[int, ...], sizes: tuple[int, ...] | None, number: int, length: int) -> None:
    if len(offsets) != number or (sizes is not None and len(sizes) != number):
        raise ValueError("not as many pieces as the picture has")
    if any(offset + size > length for offset, size in zip(offsets, sizes or (1,) * number, strict=True)):
        raise InvalidImage("The image ends too early.")
    if sum(sizes or ()) > 4 * length:
        raise ValueError("pieces that overlap")  # read again and again, a small file takes hours


def _with_entries(data: bytes, order: str, start: int, kept: list[Entry]) -> bytes:
    """The file with its first directory alone, cut down to the entries ``kept``."""
    entries = b"".join(data[entry.position : entry.position + 12] for entry in kept)
    directory = struct.pack(order + "H", len(kept)) + entries + bytes(4)
    return data[:start] + directory + data[start + len(directory) :]
