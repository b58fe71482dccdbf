"""Maps a syndrome's name to its elements: by the catalogue, else by the words inside the name."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from runners.models.tcm import tables
from runners.models.tcm.script import simplified

SUFFIX: Final = "证"
REMEMBERED: Final = 4096  # names; callers send their own


@lru_cache(REMEMBERED)
def syndrome_of(name: str) -> tables.Syndrome | None:
    """Return the catalogue's entry for a name or a synonym."""
    return _catalogue().get(_plain(name))


@lru_cache(REMEMBERED)
def elements_of(name: str) -> frozenset[str]:
    """Return the elements that a syndrome's name means; empty when it cannot be read."""
    syndrome = syndrome_of(name)
    return syndrome.elements if syndrome else read(_plain(name))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity of two syndromes' elements, in [0, 1]."""
    return len(one & other) / max(1, len(one | other))


def read(name: str) -> frozenset[str]:
    """Return the elements of a name's words: the longest patterns from left to right, each character once."""
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
