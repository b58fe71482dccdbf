"""JSON as RFC 8259 means it, which Python's own reader is too kind for.

Refused besides what is malformed: NaN and Infinity, numbers too large for a double, integers of more than 64 bits,
a key given twice, nesting deeper than 64, lone surrogates, a byte order mark.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, Final

MAX_DEPTH: Final = 64
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_LONGEST_INTEGER: Final = 20
"""Characters of the longest integer of 64 bits: CPython's reader raises its own text beyond 4,300 digits."""

_STRING: Final = re.compile(rb'"[^"]*"?')  # content with one that never ends: linear in time on whatever comes
_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class InvalidJSON(ValueError):
    """The bytes are no JSON; ``message`` is written for whoever sent them."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def loads(data: bytes) -> Any:
    """The value. Raises InvalidJSON, whose message says what is wrong and where."""
    text = _text(data)
    _check_depth(data)
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as exc:
        raise InvalidJSON(f"JSON is malformed at line {exc.lineno}, column {exc.colno}") from None
    if _SURROGATE.search(data):
        _check_surrogates(value)
    return value


def dumps(value: object) -> bytes:
    """Compact UTF-8. Raises ValueError on NaN, Infinity and lone surrogates instead of sending what nobody can read."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidJSON("JSON begins with a byte order mark")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise InvalidJSON(f"JSON is not UTF-8 at byte {exc.start}") from None


def _check_depth(data: bytes) -> None:
    """Looked at before the reader runs, which would recurse; few brackets cannot nest deep and cost no second look."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")  # every quote left is one that begins or ends a string
    brackets = _STRING.sub(b"", plain.translate(None, _NOT_STRUCTURE).replace(b'""', b""))
    if any(depth > MAX_DEPTH for depth in accumulate(map(_STEPS.__getitem__, brackets))):
        raise InvalidJSON(f"JSON nests deeper than {MAX_DEPTH} levels")


def _check_surrogates(value: object) -> None:
    """Half a character can only come from an escape, and cannot be written as UTF-8 again."""
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
    if len(digits) > _LONGEST_INTEGER or not _SMALLEST <= (value := int(digits)) <= _LARGEST:
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
