"""JSON of any size without blocking the event loop: large values are decoded and encoded in threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from web import memory
from web.json import strict_json

LARGE_BYTES: Final = 256 * 1024
"""Bytes from which a text is decoded in a thread: it takes a millisecond or more."""
COUNTED_BYTES: Final = 1024 * 1024
"""Bytes from which the elements of a text are counted in a thread."""
THREAD_ENCODE_ELEMENTS: Final = 10_000
"""Elements from which a value is encoded in a thread; ``CHARACTERS_PER_ELEMENT`` characters count as one element."""
ELEMENT_BYTES: Final = 100
"""Bytes of memory that one decoded element takes."""
CHARACTERS_PER_ELEMENT: Final = 64
"""Characters of text that count as one element."""
_ATOMS: Final = frozenset({int, float, bool, type(None)})


async def loads(data: bytes, max_elements: int = strict_json.MAX_ELEMENTS) -> Any:
    """Return the value and charge its memory to the current request. Raises InvalidJSON."""
    if len(data) < LARGE_BYTES:
        return strict_json.loads(data, max_elements)
    if len(data) < COUNTED_BYTES:
        count = strict_json.elements(data, max_elements)
    else:
        count = await memory.in_thread(strict_json.elements, data, max_elements)
    memory.hold(count * ELEMENT_BYTES)
    return await memory.in_thread(strict_json.loads, data, max_elements)


async def dumps(value: object) -> bytes:
    """Return compact UTF-8. Raises ValueError like ``strict_json.dumps``."""
    if _room_left(value, THREAD_ENCODE_ELEMENTS) >= 0:
        return strict_json.dumps(value)
    return await memory.in_thread(strict_json.dumps_in_steps, value)


def _room_left(value: object, room: int) -> int:
    """Return the room left after the value's elements; negative as soon as there are too many."""
    if isinstance(value, str):
        return room - len(value) // CHARACTERS_PER_ELEMENT
    if type(value) in _ATOMS or not isinstance(value, Collection):
        return room
    room -= len(value)
    if room < 0:
        return room
    inner = value.values() if isinstance(value, Mapping) else value
    if _ATOMS.issuperset(map(type, inner)):
        return room
    for item in inner:
        room = _room_left(item, room)
        if room < 0:
            break
    return room
