"""From a syndrome's name to its elements: the catalogue's, else what the words inside the name say."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from runners.models.tcm import tables
from runners.models.tcm.script import simplified

SUFFIX: Final = "证"
REMEMBERED: Final = 4096  # names; callers send their own


@lru_cache(REMEMBERED)
def syndrome_of(name: str) -> tables.Syndrome | None:
    """The catalogue's entry for a name or a synonym."""
    return _catalogue().get(_plain(name))


@lru_cache(REMEMBERED)
def elements_of(name: str) -> frozenset[str]:
    """The elements that a syndrome's name means; empty when it cannot be read."""
    known = syndrome_of(name)
    return known.elements if known else read(_plain(name))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of all elements of two syndromes that both have (Jaccard), in [0, 1]."""
    return len(one & other) / max(1, len(one | other))


def read(name: str) -> frozenset[str]:
    """The elements that the words of a name say: the longest patterns from left to right, each character once."""
    patterns, longest = tables.wording(), max(map(len, tables.wording()))
    found: set[str] = set()
    start = 0
    while start < len(name):
        lengths = range(min(longest, len(name) - start), 0, -1)
        length = next((one for one in lengths if name[start : start + one] in patterns), 0)
        found.update(patterns.get(name[start : start + length], ()))
        start += length or 1
    return frozenset(found)


def _plain(name: str) -> str:
    return simplified(name).removesuffix(SUFFIX)


@cache
def _catalogue() -> dict[str, tables.Syndrome]:
    names = {_plain(one.names.zh): one for one in tables.syndromes()}
    return {_plain(synonym): one for one in tables.syndromes() for synonym in one.synonyms} | names
