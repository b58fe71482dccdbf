"""Finds drugs by any of their names, and pairs of drugs that tradition forbids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from runners.models.tcm import tables
from runners.models.tcm.script import all_simplified, simplified


def herb_of(name: str) -> tables.Herb | None:
    """Return the drug with a name, a synonym or a processed form (姜半夏 is 半夏), or None."""
    return _by_name().get(simplified(name))


@lru_cache(4096)
def canonical(name: str) -> str:
    """Return the tables' name for a drug; an unknown drug keeps its own."""
    herb = herb_of(name)
    return herb.names.zh if herb else simplified(name)


def incompatible(names: Sequence[str]) -> list[tables.Pair]:
    """Return the pairs of these drugs that the eighteen oppositions (十八反) or the nineteen fears (十九畏) forbid."""
    present = {canonical(name) for name in names}
    return [pair for pair in tables.pairs() if {pair.first, pair.second} <= present]


@cache
def _by_name() -> dict[str, tables.Herb]:
    by_term = {herb.names.zh: herb for herb in tables.herbs()}
    by_writing = {synonym: herb for herb in tables.herbs() for synonym in herb.synonyms} | by_term
    return dict(zip(all_simplified(list(by_writing)), by_writing.values(), strict=True))
