"""Maps a syndrome's name to its elements: by the catalogue, else by the words in the name."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from runners.models.tcm import tables
from runners.models.tcm.script import simplified

SUFFIX: Final = "证"
"""Optional last character of a syndrome's name."""
CACHED_NAMES: Final = 4096
"""Names whose results are cached; clients may send any name."""


@lru_cache(CACHED_NAMES)
def syndrome_of(name: str) -> tables.Syndrome | None:
    """Return the catalogue's entry for a name or a synonym, or None."""
    return _catalogue().get(_plain(name))


@lru_cache(CACHED_NAMES)
def elements_of(name: str) -> frozenset[str]:
    """Return the elements of a syndrome by its name; empty if the name is not understood."""
    syndrome = syndrome_of(name)
    return syndrome.elements if syndrome else read(_plain(name))


def likeness(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the Jaccard similarity of two syndromes' elements, in [0, 1]."""
    return len(left & right) / max(1, len(left | right))


def read(name: str) -> frozenset[str]:
    """Return the elements of the words in a name: the longest patterns from left to right, without overlap."""
    patterns, longest = tables.wording(), max(map(len, tables.wording()))
    elements: set[str] = set()
    start = 0
    while start < len(name):
        lengths = range(min(longest, len(name) - start), 0, -1)
        length = next((size for size in lengths if name[start : start + size] in patterns), 0)
        elements.update(patterns.get(name[start : start + length], ()))
        start += length or 1
    return frozenset(elements)


def _plain(name: str) -> str:
    return simplified(name).removesuffix(SUFFIX)


@cache
def _catalogue() -> dict[str, tables.Syndrome]:
    names = {_plain(syndrome.names.zh): syndrome for syndrome in tables.syndromes()}
    return {_plain(synonym): syndrome for syndrome in tables.syndromes() for synonym in syndrome.synonyms} | names
