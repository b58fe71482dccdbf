"""TIFFs of measured values: every type, byte order and layout that the readers support."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = {5: "tiff_lzw", 32773: "packbits", 50000: "zstd"}
"""Pillow's names of the compressions for which it is used."""


def tiff_of(
    pieces: Sequence[bytes], tags: Mapping[int, Sequence[int]], order: str = "<", big: bool = False, note: str = ""
) -> bytes:
    """Return a TIFF or BigTIFF of these strips or tiles; ``note`` is GDAL's "no data" value."""
    body, head = b"".join(pieces), 16 if big else 8
    offsets = np.cumsum([head, *map(len, pieces[:-1])]).tolist()
    tiled = 322 in tags
    found = {**tags, (324 if tiled else 273): offsets, (325 if tiled else 279): [*map(len, pieces)]}
    start, inline, letter = head + len(body), 8 if big else 4, "Q" if big else "L"
    arrays, directory = b"", struct.pack(order + ("Q" if big else "H"), len(found) + bool(note))
    size = len(directory) + (len(found) + bool(note)) * (20 if big else 12) + inline
    for tag, values in sorted({**found, **({42113: [0]} if note else {})}.items()):
        data = note.encode() + b"\0" if tag == 42113 else struct.pack(f"{order}{len(values)}L", *values)
        kind, count = (2, len(data)) if tag == 42113 else (4, len(values))
        place = data.ljust(inline, b"\0") if len(data) <= inline else None
        directory += struct.pack(f"{order}HH{letter}", tag, kind, count)
        directory += place or struct.pack(order + letter, start + size + len(arrays))
        arrays += b"" if place else data
    magic = {"<": b"II", ">": b"MM"}[order]
    header = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HL", 42, start)
    return magic + header + body + directory + bytes(inline) + arrays


def raster(
    values: NDArray[Any],
    *,
    compression: int = 8,
    predictor: int = 1,
    tile: int = 0,
    rows: int = 0,
    apart: bool = False,
    order: str = "<",
    big: bool = False,
    photometric: int = 1,
    extra: Sequence[int] | None = None,
    note: str = "",
) -> bytes:
    """Return a picture [height, width, bands] as a TIFF; ``tile`` and ``rows`` are in pixels, 0 for a single strip."""
    height, width, bands = values.shape
    down, across = (tile, tile) if tile else (rows or height, width)
    planes = [values[..., band : band + 1] for band in range(bands)] if apart else [values]
    pieces = [
        _packed(plane[top : top + down, left : left + across], tile, compression, predictor, order)
        for plane in planes
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]
    kind, bits = {"u": 1, "i": 2, "f": 3}[values.dtype.kind], 8 * values.dtype.itemsize
    tags: dict[int, Sequence[int]] = {256: [width], 257: [height], 258: [bits] * bands, 259: [compression]}
    tags |= {262: [photometric], 277: [bands], 284: [2 if apart else 1], 317: [predictor], 339: [kind] * bands}
    tags |= {322: [tile], 323: [tile]} if tile else {278: [down]}
    extra = (0,) * (bands - (3 if photometric == 2 else 1)) if extra is None else extra
    return tiff_of(pieces, tags | ({338: extra} if extra else {}), order, big, note)


def _packed(part: NDArray[Any], tile: int, compression: int, predictor: int, order: str) -> bytes:
    if tile:
        part = np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)))
    part = _differences(part, predictor, order)
    data, rows = part.tobytes(), part.shape[0]
    if compression in {1, 8}:
        return zlib.compress(data) if compression == 8 else data
    out = BytesIO()
    wide = Image.frombytes("L", (len(data) // rows, rows), data)
    wide.save(out, "TIFF", compression=NAMES[compression], strip_size=len(data))
    with Image.open(BytesIO(out.getvalue())) as image:
        (start,), (size,) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    return out.getvalue()[start : start + size]


def _differences(part: NDArray[Any], predictor: int, order: str) -> NDArray[Any]:
    if predictor == 3:
        height, width, bands = part.shape
        planes = part.astype(part.dtype.newbyteorder(">")).view(np.uint8).reshape(height, width * bands, -1)
        planes = np.ascontiguousarray(planes.transpose(0, 2, 1)).reshape(height, -1, bands)
        return np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1]))
    if predictor == 2:
        words = np.ascontiguousarray(part).view(f"u{part.dtype.itemsize}")
        part = np.diff(words, axis=1, prepend=np.zeros_like(words[:, :1]))
    return part.astype(part.dtype.newbyteorder(">" if order == ">" else "<"))


def zeros(
    side: int, compression: int, rows: int, dtype: str = "u2", *, apart: bool = False, big: bool = False
) -> bytes:
    """Return a large picture of three black bands in strips, which takes as long as the worst picture."""
    strips, bands = -(-side // rows), 1 if apart else 3
    strip = _packed(np.zeros((rows, side, bands), dtype), 0, compression, 1, "<")
    bits, kind = 8 * np.dtype(dtype).itemsize, {"u": 1, "i": 2, "f": 3}[np.dtype(dtype).kind]
    tags = {256: [side], 257: [side], 258: [bits] * 3, 259: [compression], 262: [2], 277: [3], 278: [rows]}
    tags |= {284: [2 if apart else 1], 339: [kind] * 3}
    return tiff_of([strip] * strips * (3 if apart else 1), tags, big=big)


def two_tiles(side: int) -> bytes:
    """Return a large black picture of 16-bit RGB in two tiles."""
    tile = zlib.compress(bytes(side * side * 3), 1)
    tags = {256: [side], 257: [side], 258: [16] * 3, 259: [8], 262: [2], 277: [3], 322: [side // 2], 323: [side]}
    return tiff_of([tile] * 2, tags)
