"""JSON of any size without a pause for others: what is large is read and written beside the event loop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from web import memory
from web.json import strict_json

LARGE_BYTES: Final = 256 * 1024
"""Of a text that is read beside the event loop: a millisecond or more."""
COUNTED_BYTES: Final = 1024 * 1024
"""Of a text whose elements are counted beside the event loop."""
LARGE_VALUE: Final = 10_000
"""Elements, and 64 characters each, of a value that is written beside the event loop."""
ELEMENT_BYTES: Final = 100
"""Bytes of memory that an element takes once it is decoded."""
TEXT_STEP: Final = 64
_ATOMS: Final = frozenset({int, float, bool, type(None)})


async def loads(data: bytes, most: int = strict_json.MAX_ELEMENTS) -> Any:
    """The value; its memory is the current request's. Raises InvalidJSON."""
    if len(data) < LARGE_BYTES:
        return strict_json.loads(data, most)
    if len(data) < COUNTED_BYTES:
        count = strict_json.elements(data, most)
    else:
        count = await memory.in_thread(strict_json.elements, data, most)
    memory.hold(count * ELEMENT_BYTES)
    return await memory.in_thread(strict_json.loads, data, most)


async def dumps(value: object) -> bytes:
    """Compact UTF-8. Raises ValueError like ``strict_json.dumps``."""
    if _left(value, LARGE_VALUE) >= 0:
        return strict_json.dumps(value)
    return await memory.in_thread(strict_json.dumps_in_steps, value)


def _left(value: object, room: int) -> int:
    """The room without the value's elements; negative as soon as they are too many."""
    if isinstance(value, str):
        return room - len(value) // TEXT_STEP
    if type(value) in _ATOMS or not isinstance(value, Collection):
        return room
    room -= len(value)
    if room < 0:
        return room
    inner = value.values() if isinstance(value, Mapping) else value
    if _ATOMS.issuperset(map(type, inner)):
        return room
    for one in inner:
        room = _left(one, room)
        if room < 0:
            break
    return room
