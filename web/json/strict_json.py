"""JSON as RFC 8259 defines it; Python's own decoder is more lenient.

Besides malformed text, it refuses NaN and Infinity, numbers too large for a double, integers of more than 64 bits,
duplicate keys, nesting deeper than 64, more elements than the limit, lone surrogates, and a byte order mark.

jiter is faster but does not fit: it holds the interpreter's lock for a whole text, so that other requests wait longer
while a text with many small items or much Chinese is read.
"""

from __future__ import annotations

import json
import math
import re
from io import BytesIO
from typing import Any, Final

from web.json import structure

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 100_000
"""Default limit of arrays, objects, items and keys in one text: about 10 MB of objects."""
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
_MAX_INTEGER_CHARACTERS: Final = 20
"""Characters of the longest integer of 64 bits; CPython raises its own message beyond 4,300 digits."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class InvalidJSON(ValueError):
    """The bytes are not valid JSON; ``message`` is written for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def loads(data: bytes, max_elements: int = MAX_ELEMENTS) -> Any:
    """Return the value, of at most ``max_elements`` elements. Raises InvalidJSON, whose message names the problem."""
    text = _text(data)
    elements(data, max_elements)
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as exc:
        raise InvalidJSON(f"JSON is malformed at line {exc.lineno}, column {exc.colno}") from None
    if _SURROGATE.search(data):
        _check_surrogates(value)
    return value


def dumps(value: object) -> bytes:
    """Return compact UTF-8. Raises ValueError on NaN, Infinity and lone surrogates, which parsers cannot read."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def elements(data: bytes, max_elements: int = MAX_ELEMENTS) -> int:
    """Return an upper bound of the number of elements without decoding. Raises InvalidJSON above either limit."""
    try:
        return structure.elements(data, max_depth=MAX_DEPTH, max_elements=max_elements)
    except structure.TooDeepError:
        raise InvalidJSON(f"JSON nests deeper than {MAX_DEPTH} levels") from None
    except structure.TooManyError:
        raise InvalidJSON(f"JSON has more than {max_elements} elements") from None


def dumps_in_steps(value: object) -> bytes:
    """Return the same as ``dumps``, in many short steps, so that a thread does not block the others."""
    written = BytesIO()
    for piece in _encoder.iterencode(value):
        written.write(piece.encode())
    return written.getvalue()


def _text(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidJSON("JSON begins with a byte order mark")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise InvalidJSON(f"JSON is not UTF-8 at byte {exc.start}") from None


def _check_surrogates(value: object) -> None:
    """Raise InvalidJSON for a lone surrogate: it comes from an escape and cannot be encoded as UTF-8."""
    try:
        dumps(value)
    except UnicodeEncodeError:
        raise InvalidJSON("JSON holds half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJSON(f"JSON gives the key {_repeated(pairs)[:40]!a} twice")
    return value


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_CHARACTERS or not _MIN_INTEGER <= (value := int(digits)) <= _MAX_INTEGER:
        raise InvalidJSON("JSON holds an integer of more than 64 bits")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise InvalidJSON("JSON holds a number too large for a double")
    return value


def _constant(name: str) -> None:
    raise InvalidJSON(f"JSON has no {name.lstrip('-')}")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
