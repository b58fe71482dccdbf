"""How much CPU time hostile pictures take: every format mutated, and the worst of each written by hand."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from runners.errors import InvalidInput, PayloadTooLarge, RunnerError
from runners.http.requests import decode_base64
from runners.images.decode import MAX_BYTES, decode
from tests.inputs.picture_mutants import mutants
from tests.runners.images.test_decode import FORMATS, files, gradient, saved
from tests.runners.images.test_limits import directory_bomb, with_segments
from tests.support.running import cpu_time

MAX_SECONDS = 1.0
"""CPU time that one hostile picture may take; the slowest takes about a tenth of it on one core of a small machine."""


def seconds_of(work: Callable[[], object]) -> float:
    """The CPU seconds of work that may refuse what it reads."""

    def refused() -> None:
        with suppress(RunnerError):
            work()

    return cpu_time.least(refused, enough=MAX_SECONDS)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_no_mutant_of_a_picture_takes_a_second(kind: str, count: int) -> None:
    assert max(seconds_of(partial(decode, data)) for data in mutants(kind, count)) < MAX_SECONDS


JPEG, GIF, PNG = saved(gradient(), "JPEG"), files()["GIF"], files()["PNG"]
PALETTE_END = 13 + 3 * 256


def _exif() -> bytes:
    bomb = directory_bomb()
    return b"\xff\xe1" + struct.pack(">H", len(bomb) + 2) + bomb


REPETITIVE: dict[str, Callable[[], bytes]] = {
    "JPEG of fill bytes": lambda: b"\xff\xd8" + b"\xff" * (MAX_BYTES - 2),
    "JPEG of fill bytes before its frame": lambda: JPEG[:2] + b"\xff" * (MAX_BYTES - len(JPEG)) + JPEG[2:],
    "JPEG of fill bytes and zeros": lambda: b"\xff\xd8\xff" + b"\xff\0" * (MAX_BYTES // 2 - 2),
    "JPEG of empty segments": lambda: with_segments(JPEG, b"\xff\xe5\0\2", 4_000_000),
    "JPEG of 270 notes of 5,000 entries": lambda: with_segments(JPEG, _exif(), 270),
    "GIF of stray bytes": lambda: GIF[:PALETTE_END] + b"\1" * (MAX_BYTES - len(GIF)) + GIF[PALETTE_END:],
    "GIF of blocks of a byte": lambda: GIF[:PALETTE_END] + b"!\xfe" + b"\1a" * 8_000_000 + b"\0" + GIF[PALETTE_END:],
    "PNG of empty chunks": lambda: PNG[:33] + b"\0\0\0\0IDAT\x35\xaf\x06\x1e" * 1_300_000 + PNG[33:],
}
"""What makes readers search, count or parse the same bytes again and again, at the size that a request allows."""


@pytest.mark.parametrize("name", sorted(REPETITIVE))
def test_no_picture_that_repeats_itself_takes_a_second(name: str) -> None:
    data = REPETITIVE[name]()
    assert len(data) <= MAX_BYTES
    assert seconds_of(lambda: decode(data)) < MAX_SECONDS


def test_a_jpeg_of_fill_bytes_that_ends_well_is_read() -> None:
    jpeg = saved(gradient(), "JPEG")
    assert decode(jpeg[:2] + b"\xff" * 300_000 + jpeg[2:]).tobytes() == decode(jpeg).tobytes()


@pytest.mark.parametrize("text", ["aa " * 21_000_000, " " * 60_000_000, "=" * 60_000_000, "data:" + ":" * 60_000_000])
def test_base64_of_any_shape_takes_no_second(text: str) -> None:
    assert seconds_of(lambda: decode_base64(text)) < MAX_SECONDS


def test_base64_is_read_in_lines_and_in_both_alphabets() -> None:
    data = bytes(range(256))
    lines = b64encode(data).decode().replace("+", "-").replace("/", "_").rstrip("=")
    assert (
        decode_base64("data:image/png;base64," + "\r\n ".join(lines[at : at + 76] for at in range(0, 400, 76))) == data
    )
    for wrong in ("ä" * 8, "AAAA\N{NO-BREAK SPACE}", "A", "\ud800"):
        with pytest.raises(InvalidInput):
            decode_base64(wrong)


def test_base64_of_too_many_bytes_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PayloadTooLarge):
        decode_base64("AAAA" * (MAX_BYTES // 3 + 1))
