"""Counts the elements of a JSON text before decoding, because a few bytes can become many objects.

``[],`` has three bytes and becomes 72 bytes; a text of 60 MB becomes 4 GB. The text is scanned in pieces, so that other
threads run in between, and only until a limit is exceeded.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

PIECE_BYTES: Final = 256 * 1024
"""Bytes that are scanned in one step: a few milliseconds of the interpreter's lock."""

_STRING: Final = re.compile(rb'"[^"]*"?')  # also matches an unterminated string: linear in time on every input
_MARKS: Final = b'[]{}",:'
_NOT_MARKS: Final = bytes(set(range(256)) - set(_MARKS))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooDeepError(ValueError):
    """The text nests deeper than allowed."""


class TooManyError(ValueError):
    """The text has more elements than allowed."""


def elements(data: bytes, *, max_depth: int, max_elements: int) -> int:
    """Return an upper bound of arrays, objects, items and keys. Raises TooDeepError and TooManyError."""
    opened = upper = 0
    for start in range(0, len(data), PIECE_BYTES):
        end = start + PIECE_BYTES
        opened += data.count(b"[", start, end) + data.count(b"{", start, end)
        upper += data.count(b",", start, end) + data.count(b":", start, end)
        if opened > max_depth or opened + upper > max_elements:
            return _Scan(max_depth, max_elements).count(data)
    return opened + upper


class _Scan:
    """The exact count of the structure outside of strings."""

    def __init__(self, max_depth: int, max_elements: int) -> None:
        self._max_depth, self._max_elements = max_depth, max_elements
        self._inside = False
        self._depth = self._count = 0

    def count(self, data: bytes) -> int:
        start = 0
        while start < len(data) and self._depth >= 0:  # below 0 the text is malformed, and the decoder stops there too
            end = _end_of_piece(data, start)
            self._piece(data[start:end])
            start = end
        return self._count

    def _piece(self, piece: bytes) -> None:
        outside = self._outside(piece)
        self._count += len(outside) - outside.count(b"]") - outside.count(b"}")
        brackets = outside.translate(None, b",:")
        for depth in accumulate(map(_STEPS.__getitem__, brackets), initial=self._depth):
            if depth > self._max_depth:
                raise TooDeepError
            self._depth = depth
            if depth < 0:
                break
        if self._count > self._max_elements:
            raise TooManyError

    def _outside(self, piece: bytes) -> bytes:
        """Return the structural marks of the piece, and remember whether it ends inside a string."""
        plain = piece.replace(rb"\\", b"").replace(rb"\"", b"")  # every remaining quote begins or ends a string
        marks = plain.translate(None, _NOT_MARKS).replace(b'""', b"")
        if self._inside:
            marks = b'"' + marks
        self._inside = marks.count(b'"') % 2 == 1
        return _STRING.sub(b"", marks)


def _end_of_piece(data: bytes, start: int) -> int:
    """Return the end of the piece, never between a backslash and the character that it escapes."""
    end = min(start + PIECE_BYTES, len(data))
    piece = data[start:end]
    odd = (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1
    return end - 1 if odd and end < len(data) else end
