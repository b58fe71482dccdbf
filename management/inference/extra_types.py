"""The types that BentoML adds to JSON schema, as JSON values: ``file``, ``tensor`` and ``dataframe``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

FILE: Final = "file"
TENSOR: Final = "tensor"
DATAFRAME: Final = "dataframe"
DESCRIPTIONS: Final[Mapping[str, str]] = {
    FILE: 'base64, a URL, or an object with "base64" or "url"',
    TENSOR: "a number, or nested lists of numbers of equal length",
    DATAFRAME: "a list of records, or an object of columns",
}
"""What a caller gives for each type, in words."""
SOURCES: Final = frozenset({"base64", "url"})
"""Keys of a file's object, one of which is required."""
ABOUT: Final = frozenset({"content_type", "filename"})
"""Further keys of a file's object."""
MAX_DIMENSIONS: Final = 32
"""Dimensions of the largest tensor; NumPy has 64 at most, and nested JSON ends there, too."""
_TEXTS: Final = ("str", "object", "bytes", "void")
"""Beginnings of the NumPy types whose elements are no numbers."""

Shape = tuple[int, ...]


def is_file(_: Any, value: Any) -> bool:
    """Return whether the value may stand for a file."""
    if isinstance(value, str):
        return True
    if not isinstance(value, dict) or len(SOURCES & value.keys()) != 1 or value.keys() - SOURCES - ABOUT:
        return False
    return all(isinstance(part, str) for part in value.values())


def is_tensor(_: Any, value: Any) -> bool:
    """Return whether the value is a tensor of any kind of elements."""
    return shape_of(value) is not None


def is_dataframe(_: Any, value: Any) -> bool:
    """Return whether the value is a table: a list of records, or an object of columns."""
    if isinstance(value, list):
        return all(isinstance(record, dict) for record in value)
    return isinstance(value, dict) and all(isinstance(column, list | dict) for column in value.values())


def shape_of(value: Any) -> Shape | None:
    """Return the lengths of nested lists, the outermost first; None where lists of one depth differ in length."""
    shape: list[int] = []
    level: Sequence[Any] = [value]
    while level and any(isinstance(item, list) for item in level):
        if len(shape) == MAX_DIMENSIONS or not all(isinstance(item, list) for item in level):
            return None
        lengths = {len(item) for item in level}
        if len(lengths) != 1:
            return None
        shape.append(lengths.pop())
        level = [inner for item in level for inner in item]
    return None if any(isinstance(item, dict) for item in level) else tuple(shape)


def has_numbers(value: Any, dtype: object) -> bool:
    """Return whether the elements of a tensor fit its NumPy type, as far as JSON shows it."""
    if isinstance(dtype, str) and dtype.startswith(_TEXTS):
        return True
    if isinstance(value, list):
        return all(has_numbers(item, dtype) for item in value)
    return isinstance(value, int | float)


def fits(shape: Shape, wanted: object) -> bool:
    """Return whether a tensor of this shape can be given the wanted one; -1 stands for any length."""
    if not isinstance(wanted, list | tuple) or not all(isinstance(side, int) for side in wanted):
        return True
    known, given = prod(side for side in wanted if side >= 0), prod(shape)
    return bool(given % max(known, 1) == 0 if -1 in wanted else given == known)
