"""The samples of a TIFF, a few rows at a time: unpacks strips and tiles of any sample type and byte order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runners.errors import InvalidImage
from runners.images.tiff import (
    COMPRESSION,
    DEFLATE,
    FORMAT,
    OLD_DEFLATE,
    PLANAR,
    PREDICTOR,
    RAW,
    SAMPLES,
    STRIP_SIZES,
    STRIPS,
    TILE_SIZES,
    TILE_WIDTH,
    TILES,
    Tiff,
    classic,
)

GROUP_BYTES: Final = 4_000_000
"""Bytes of samples that are unpacked together, at least: small pieces are grouped, because each call has a cost."""

INPUT_BYTES: Final = 65_536
"""Bytes of one input to zlib: it copies the remaining input for each part of its output."""

OUTPUT_BYTES: Final = 1_048_576
"""Bytes of one output of zlib, at most."""

CHUNK_BYTES: Final = 1_000_000
"""Approximate bytes of samples in one chunk: they become floats, whose memory must stay small."""

KINDS: Final = {1: "u", 2: "i", 3: "f"}
"""numpy's letter of each sample format."""


def rows(tiff: Tiff, bands: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield chunks: the index of the first row, and the samples, [rows, width, bands]."""
    apart = tiff.one(PLANAR, 1) == 2
    across, down = tiff.pieces
    columns, row_count = -(-tiff.width // across), -(-tiff.height // down)
    held = 1 if apart else tiff.one(SAMPLES, 1)
    row_bytes = columns * across * held * tiff.bits // 8
    group = max(1, GROUP_BYTES // (row_bytes * down))
    for first in range(0, row_count, group):
        count = min(group, row_count - first)
        planes = [_Group(tiff, held, band * columns * row_count, first, count) for band in (bands if apart else [0])]
        packed = [plane.unpacked() for plane in planes]
        height = min(count * down, tiff.height - first * down)
        step = max(1, CHUNK_BYTES // (row_bytes * len(planes)))
        for top in range(0, height, step):
            parts = [
                plane.samples(data, top, min(top + step, height)) for plane, data in zip(planes, packed, strict=True)
            ]
            yield first * down + top, np.concatenate(parts, axis=-1) if apart else parts[0][..., list(bands)]


class _Group:
    """Consecutive rows of strips or tiles of one plane."""

    def __init__(self, tiff: Tiff, held: int, plane: int, first: int, count: int) -> None:
        self._tiff, self._held = tiff, held
        self._across, self._down = tiff.pieces
        self._columns = -(-tiff.width // self._across)
        self._height = count * self._down
        if TILE_WIDTH not in tiff.tags:
            self._height = min(self._height, tiff.height - first * self._down)
        start = plane + first * self._columns
        self._pieces = range(start, start + count * self._columns)
        self._row_bytes = self._across * held * tiff.bits // 8

    def unpacked(self) -> NDArray[np.uint8]:
        """Unpack the bytes: uint8 [rows, columns of pieces, bytes of a piece's row]."""
        if self._tiff.one(COMPRESSION, RAW) not in {RAW, DEFLATE, OLD_DEFLATE}:
            return self._by_pillow()
        # Each piece is unpacked in place: it may be as large as the picture, and two copies would not fit.
        count = len(self._pieces) // self._columns
        out = np.empty((count, self._columns, self._down, self._row_bytes), np.uint8)
        for number, piece in enumerate(self._pieces):
            row, column = divmod(number, self._columns)
            self._fill(out[row, column, : self._height - row * self._down].reshape(-1), piece)
        rows: NDArray[np.uint8] = out.transpose(0, 2, 1, 3)
        return rows[0] if count == 1 else rows.reshape(-1, self._columns, self._row_bytes)

    def _fill(self, out: NDArray[np.uint8], piece: int) -> None:
        data = self._packed(piece)
        if self._tiff.one(COMPRESSION, RAW) == RAW:
            filled = min(len(data), len(out))
            out[:filled] = np.frombuffer(data[:filled], np.uint8)
        else:
            filled = _inflate(data, out)
        if filled < len(out):
            raise InvalidImage("The image ends too early.")

    def _packed(self, piece: int) -> memoryview:
        tags, tiled = self._tiff.tags, TILE_WIDTH in self._tiff.tags
        start = tags[TILES if tiled else STRIPS][piece]
        sizes = tags.get(TILE_SIZES if tiled else STRIP_SIZES)
        return memoryview(self._tiff.content)[start : start + sizes[piece] if sizes else None]

    def _by_pillow(self) -> NDArray[np.uint8]:
        """Unpack the pieces with Pillow's libtiff as 8-bit greys, so that it ignores byte order and predictor."""
        tiled = TILE_WIDTH in self._tiff.tags
        pieces = [self._packed(piece) for piece in self._pieces]
        offsets = np.cumsum([8, *map(len, pieces[:-1])]).tolist()
        width = self._columns * self._row_bytes
        numbers: dict[int, list[int]] = {256: [width], 257: [self._height], 258: [8], 262: [1], 277: [1], 284: [1]}
        numbers |= {259: [self._tiff.one(COMPRESSION)]} | ({} if tiled else {278: [self._down]})
        numbers |= {TILES: offsets, TILE_SIZES: [*map(len, pieces)]} if tiled else {STRIPS: offsets}
        numbers |= {322: [self._row_bytes], 323: [self._down]} if tiled else {STRIP_SIZES: [*map(len, pieces)]}
        entries = {tag: (4, len(numbers[tag]), np.array(numbers[tag], "<u4").tobytes()) for tag in sorted(numbers)}
        with Image.open(BytesIO(classic(b"".join([bytes(8), *pieces]), "<", entries)), formats=["TIFF"]) as image:
            if image.mode != "L" or image.size != (width, self._height):
                raise ValueError("two readers of one header disagree")
            return np.asarray(image).reshape(self._height, self._columns, self._row_bytes)

    def samples(self, data: NDArray[np.uint8], top: int, end: int) -> NDArray[Any]:
        """Return the samples of the rows ``top`` to ``end``, [rows, width, bands], in native byte order."""
        part = np.ascontiguousarray(data[top:end]).reshape(end - top, self._columns, self._across, -1)
        predictor, size = self._tiff.one(PREDICTOR, 1), self._tiff.bits // 8
        kind = KINDS[self._tiff.tags.get(FORMAT, (1,))[0]]
        if predictor == 3 and kind == "f":
            values = _from_byte_planes(part, self._held, size)
        else:
            values = part.view(f"{self._tiff.order}{kind}{size}").astype(f"={kind}{size}", copy=False)
            if predictor == 2:
                words = values.view(f"=u{size}")
                values = np.cumsum(words, axis=2, dtype=words.dtype).view(values.dtype)
        return values.reshape(end - top, -1, self._held)[:, : self._tiff.width]


def _inflate(data: memoryview, out: NDArray[np.uint8]) -> int:
    """Unpack a zlib stream into ``out`` and return the number of bytes; never unpack more than fits."""
    filled, inflater = 0, zlib.decompressobj()
    for start in range(0, len(data), INPUT_BYTES):
        left: bytes | memoryview = data[start : start + INPUT_BYTES]
        while filled < len(out) and not inflater.eof:
            part = inflater.decompress(left, min(len(out) - filled, OUTPUT_BYTES))
            out[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled, left = filled + len(part), inflater.unconsumed_tail
            if not left and len(part) < OUTPUT_BYTES:
                break
    return filled


def _from_byte_planes(part: NDArray[np.uint8], held: int, size: int) -> NDArray[Any]:
    """Decode floats whose rows were stored as byte differences, with the highest bytes of all samples first."""
    height, columns, across, _ = part.shape
    differences = part.reshape(height, columns, across * size, held)
    planes = np.cumsum(differences, axis=2, dtype=np.uint8).reshape(height, columns, size, across * held)
    values = np.ascontiguousarray(planes.transpose(0, 1, 3, 2)).view(f">f{size}").astype(f"=f{size}")
    return values.reshape(height, columns, across, held)
