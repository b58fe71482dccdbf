"""Pages of a TIFF with fax compression (CCITT Group 3 and 4), black on white: scanners write them, too.

The decoder of other pictures refuses them: after an error in one, libtiff goes on and writes a line per row to standard
error. Pages are read in a process whose standard error is dropped.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Final, NamedTuple

from PIL import Image

from runners.errors import InvalidImage, RunnerError, UnsupportedMediaType
from runners.images.decode import TURNS
from runners.images.files import ACCEPTED
from runners.limits import MAX_SIDE, check_bytes, check_size

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, ROWS, STRIP_SIZES, ACROSS, DOWN, GROUP_3, GROUP_4 = (
    273,
    274,
    277,
    278,
    279,
    282,
    283,
    292,
    293,
)
KEPT: Final = {
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    FILL_ORDER,
    STRIPS,
    SAMPLES,
    ROWS,
    STRIP_SIZES,
    GROUP_3,
    GROUP_4,
}
"""Tags of a page's directory that are passed to the decoder."""
FAX: Final = {2, 3, 4}
SHORT, LONG, RATIONAL = 3, 4, 5
MAX_STRIPS: Final = 20_000
"""Strips of one page: each is one row at least."""
EVEN_RATIO: Final = 1.1
"""Ratio of horizontal to vertical resolution up to which a page is not scaled: a fax has half as many dots down."""
MAX_RATIO: Final = 4.0

logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    """An entry of a directory, and its position in the file."""

    kind: int
    values: int
    position: int


def is_fax(data: bytes) -> bool:
    """Whether the first page of a TIFF has fax compression; False where it is damaged."""
    try:
        order, entries = _entries(data)
        return _number(data, order, entries, COMPRESSION, 1) in FAX
    except (struct.error, ValueError, KeyError):
        return False


def decode(data: bytes) -> Image.Image:
    """Decode the first page as 8-bit RGB, upright. Raises InvalidImage, PayloadTooLarge and UnsupportedMediaType."""
    check_bytes(len(data))
    try:
        return _decoded(data)
    except RunnerError:
        raise
    except Exception as error:  # Pillow raises anything for a corrupt file
        logger.info("a fax of %d bytes refused: %r", len(data), error)
    raise InvalidImage("The image is corrupt or ends too early.")


def _decoded(data: bytes) -> Image.Image:
    order, entries = _entries(data)
    size = _number(data, order, entries, WIDTH), _number(data, order, entries, HEIGHT)
    check_size(*size)
    if _number(data, order, entries, BITS, 1) != 1 or _number(data, order, entries, SAMPLES, 1) != 1:
        raise UnsupportedMediaType(ACCEPTED)
    _check_strips(data, order, entries)
    with Image.open(BytesIO(_with_kept(data, order, entries)), formats=["TIFF"]) as image:
        if image.size != size:
            raise ValueError("two readers of one header disagree")
        even = _even(image.convert("L"), _unevenness(data, order, entries))
    orientation = _number(data, order, entries, ORIENTATION, 1)
    return (even.transpose(TURNS[orientation]) if orientation in TURNS else even).convert("RGB")


def _entries(data: bytes) -> tuple[str, dict[int, _Entry]]:
    """Return the byte order as ``struct`` writes it, and the first directory's entries by tag."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    magic, start = struct.unpack_from(order + "HL", data, 2)
    (count,) = struct.unpack_from(order + "H", data, start)
    if magic != 42:
        raise ValueError("no TIFF")
    positions = range(start + 2, start + 2 + 12 * count, 12)
    read = [(struct.unpack_from(order + "HHL", data, position), position) for position in positions]
    entries = {tag: _Entry(kind, values, position) for (tag, kind, values), position in read}
    if len(entries) < count:
        raise ValueError("two entries of one tag")
    return order, entries


def _numbers(data: bytes, order: str, entry: _Entry) -> tuple[int, ...]:
    sign, size = {SHORT: ("H", 2), LONG: ("L", 4), RATIONAL: ("LL", 8)}[entry.kind]
    if entry.values > MAX_STRIPS:
        raise ValueError("an entry of too many values")
    position = entry.position + 8
    if entry.values * size > 4:
        (position,) = struct.unpack_from(order + "L", data, position)
    return struct.unpack_from(order + sign * entry.values, data, position)


def _number(data: bytes, order: str, entries: Mapping[int, _Entry], tag: int, default: int | None = None) -> int:
    if tag not in entries and default is not None:
        return default
    (value,) = _numbers(data, order, entries[tag])
    return value


def _check_strips(data: bytes, order: str, entries: Mapping[int, _Entry]) -> None:
    offsets, sizes = (_numbers(data, order, entries[tag]) for tag in (STRIPS, STRIP_SIZES))
    if any(offset + size > len(data) for offset, size in zip(offsets, sizes, strict=True)):
        raise InvalidImage("The image ends too early.")
    if sum(sizes) > 2 * len(data):
        raise ValueError("strips that overlap")  # overlapping strips would make a small file take hours


def _unevenness(data: bytes, order: str, entries: Mapping[int, _Entry]) -> float:
    """Return the ratio of horizontal to vertical resolution; 1 where it is missing or implausible."""
    if not {ACROSS, DOWN} <= entries.keys() or not entries[ACROSS].kind == entries[DOWN].kind == RATIONAL:
        return 1.0
    (across, by), (down, below) = (_numbers(data, order, entries[tag])[:2] for tag in (ACROSS, DOWN))
    ratio = across * below / (by * down) if by and down else 1.0
    return ratio if EVEN_RATIO < max(ratio, 1 / ratio if ratio else math.inf) <= MAX_RATIO else 1.0


def _even(page: Image.Image, unevenness: float) -> Image.Image:
    """Scale the page to equal resolutions."""
    width, height = page.width * max(1.0, 1 / unevenness), page.height * max(1.0, unevenness)
    scale = min(1.0, MAX_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return page if size == page.size else page.resize(size, Image.Resampling.BICUBIC)


def _with_kept(data: bytes, order: str, entries: Mapping[int, _Entry]) -> bytes:
    """Return the file with a new directory at its end that has only the entries needed for decoding."""
    tags = sorted(tag for tag in entries if tag in KEPT)
    written = b"".join(data[entries[tag].position : entries[tag].position + 12] for tag in tags)
    padded = data + bytes(len(data) % 2)
    directory = struct.pack(order + "H", len(tags)) + written + bytes(4)
    return padded[:4] + struct.pack(order + "L", len(padded)) + padded[8:] + directory
