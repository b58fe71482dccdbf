"""Damaged and hostile pictures of every format, the same in every run: changes, long fills and repetitions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.inputs.tiffs_made import raster
from tests.runners.images.test_decode import files, saved

FILL_BYTES = 300_000
"""Maximum bytes that a change adds: quadratic code then takes minutes, linear code milliseconds."""

FILLS = [
    b"\xff",
    b"\0",
    b"\x01",
    b"!\xfe\x01a",
    b"\xff\xda\0\2",
    b"\xff\xe1\0\2",
    b"IDAT",
    b",",
    b";",
    b"II*\0",
]


def seeds(kind: str) -> list[bytes]:
    """Return valid pictures of a format: small ones of all its kinds, and larger ones of noise."""
    noise = np.random.default_rng(7).integers(0, 256, (150, 200, 3), np.uint8)
    large = [saved(Image.fromarray(noise), kind)]
    if kind == "JPEG":
        large.append(saved(Image.fromarray(noise), kind, progressive=True))
    if kind == "TIFF":
        values = noise[:40, :50].astype("u2") * 11
        layouts: list[dict[str, Any]] = [{"tile": 16}, {"rows": 3, "compression": 5}, {"apart": True, "big": True}]
        large += [raster(values, **layout, note="0") for layout in layouts]
        large.append(raster(values.astype("f4"), predictor=3, compression=50000))
    return [data for name, data in sorted(files().items()) if name.split()[0] == kind] + large


def mutants(kind: str, count: int) -> Iterator[bytes]:
    """Yield pictures with up to eight changes each; every tenth is cut to its head and a long fill."""
    draw, valid = random.Random(f"{kind} 1"), seeds(kind)
    for number in range(count):
        data = bytearray(draw.choice(valid))
        if number % 10 == 0:
            _end_in_a_fill(draw, data, FILLS[number // 10 % len(FILLS)])
            yield bytes(data)
            continue
        for _ in range(draw.randint(1, 8)):
            draw.choice(CHANGES)(draw, data)
        yield bytes(data)


def _place(draw: random.Random, data: bytearray) -> int:
    """Return a random offset, often near the beginning or the end, where the headers are."""
    return draw.choice([draw.randrange(len(data) + 1), min(draw.randrange(80), len(data)), max(0, len(data) - 100)])


def _change_a_byte(draw: random.Random, data: bytearray) -> None:
    if data:
        place = min(_place(draw, data), len(data) - 1)
        data[place] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])


def _change_a_number(draw: random.Random, data: bytearray) -> None:
    place, size = _place(draw, data), draw.choice([2, 4])
    number = draw.choice([0, 1, 255, 4096, 10_000, 2**16 - 1, 2**31, 2**32 - 1]) % 256**size
    data[place : place + size] = number.to_bytes(size, draw.choice(["little", "big"]))


def _fill(draw: random.Random, data: bytearray) -> None:
    pattern, place = draw.choice(FILLS), _place(draw, data)
    data[place:place] = pattern * (draw.choice([10, 1000, FILL_BYTES]) // len(pattern))


def _end_in_a_fill(draw: random.Random, data: bytearray, pattern: bytes) -> None:
    del data[draw.choice([2, 4, 20]) :]
    data += pattern * (FILL_BYTES // len(pattern))


def _repeat(draw: random.Random, data: bytearray) -> None:
    place = _place(draw, data)
    part = bytes(data[place : place + draw.choice([4, 12, 100, 1000])])
    if part:
        data[place:place] = part * (draw.choice([10, 1000, FILL_BYTES]) // len(part))


def _cut(draw: random.Random, data: bytearray) -> None:
    del data[_place(draw, data) :]


CHANGES = [_change_a_byte] * 4 + [_change_a_number] * 3 + [_fill, _repeat, _cut]
