"""YAML that others wrote, read within bounds.

The C library's loader overflows the stack on deep nesting, which ends the process. A few aliases of aliases mean more
values than any memory holds, merge keys copy what they name, and a number of many parts takes quadratic time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

MAX_DEPTH: Final = 64
"""Levels of lists and mappings."""
MAX_VALUES: Final = 1_000_000
"""Values in all, where each alias counts as all that it stands for."""
MAX_NODES: Final = 250_000
"""Values that are written; while they are read, each takes about 1 kB of memory."""
MAX_NUMBER_CHARACTERS: Final = 1000
"""Characters of the longest number."""
_MERGE: Final = "<<"
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Begin: Final = (yaml.events.SequenceStartEvent, yaml.events.MappingStartEvent)
_End: Final = (yaml.events.SequenceEndEvent, yaml.events.MappingEndEvent)


def load(text: str) -> Any:
    """Return the value of a document. Raises ValueError for one that is not YAML, or beyond the bounds."""
    try:
        _check_events(text)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError):
        raise ValueError("not YAML") from None
    _values(value, {})
    return value


def _check_events(text: str) -> None:
    """Raise ValueError for a document that costs too much to construct."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, _Begin) - isinstance(event, _End)
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise ValueError("too deep, or too many values")
        if isinstance(event, yaml.events.ScalarEvent) and (event.tag or event.implicit[0]):
            _check_scalar(event.tag, event.value)


def _check_scalar(tag: str | None, value: str) -> None:
    """Raise ValueError for a scalar that is not quoted and merges mappings, or may be a number that is too long."""
    is_number = bool(tag) or value[:1] in frozenset("+-.0123456789")
    if value == _MERGE or (is_number and len(value) > MAX_NUMBER_CHARACTERS and " " not in value):
        raise ValueError("a merge, or a number that is too long")


def _values(value: Any, known: dict[int, int]) -> int:
    """Return how many values a value consists of. ``known`` has those that were counted before, by identity."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in known:
        total = known[id(value)]
    else:
        known[id(value)] = MAX_VALUES + 1  # an alias of a value within itself never ends
        inner = value.values() if isinstance(value, dict) else value
        total = known[id(value)] = 1 + sum(_values(each, known) for each in inner)
    if total > MAX_VALUES:
        raise ValueError("too many values")
    return total


def plain(value: Any) -> Any:
    """Return a value as JSON can carry it: YAML has dates, infinite numbers and keys of any kind."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence | set) and not isinstance(value, str | bytes):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if value is None or isinstance(value, bool | int) else str(value).encode(errors="replace").decode()
