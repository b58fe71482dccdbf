"""Finds known terms in a phrase, by a table's terms, synonyms and translations."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final

from runners.models.tcm.script import all_simplified
from runners.models.tcm.tables import Names

MIN_INNER_CHARACTERS: Final = 2
"""Characters of the shortest term inside a phrase; a single one (咳, 热) is a term only if it is the whole phrase."""


class Lexicon:
    """Finds a table's rows in a phrase: the whole phrase, else the longest terms inside it from left to right."""

    def __init__(self, rows: Iterable[tuple[Names, Sequence[str]]], skipped: Container[str] = ()) -> None:
        """``skipped`` are simplified writings to leave out, to measure the effect of incomplete tables."""
        self._row_of: dict[str, int] = {}
        self._foreign: dict[str, int] = {}
        entries = list(rows)
        terms = [(names.zh, row) for row, (names, _) in enumerate(entries)]
        other_names = [(synonym, row) for row, (_, synonyms) in enumerate(entries) for synonym in synonyms]
        foreign = [(name, row) for row, (names, _) in enumerate(entries) for name in (names.en, names.fr) if name]
        # The term of a row takes precedence over a synonym of another row.
        for writing, row in _simplified(terms + other_names):
            if writing not in skipped:
                self._row_of.setdefault(writing, row)
        for writing, row in _simplified(foreign):
            self._foreign.setdefault(writing, row)
        self.longest = max(map(len, self._row_of))
        """Characters of the longest Chinese writing."""

    def exact(self, phrase: str) -> int | None:
        """Return the row that the whole simplified phrase names, or None."""
        row = self._row_of.get(phrase)
        return self._foreign.get(phrase) if row is None else row

    def inside(self, phrase: str) -> list[int]:
        """Return the rows of a simplified phrase: the row of the whole phrase, or those of the terms inside it."""
        row = self.exact(phrase)
        return self.parts(phrase) if row is None else [row]

    def parts(self, phrase: str) -> list[int]:
        """Return the rows of the terms inside a simplified phrase, in order, each shorter than the phrase."""
        rows, start = [], 0
        while start < len(phrase):
            length, row = self._longest_at(phrase, start, len(phrase) - 1)
            if row is not None:
                rows.append(row)
            start += length
        return rows

    def begins(self, phrase: str) -> bool:
        """Return whether a simplified phrase is a known term, or begins with one."""
        return self.exact(phrase) is not None or self._longest_at(phrase, 0, len(phrase))[1] is not None

    def _longest_at(self, phrase: str, start: int, limit: int) -> tuple[int, int | None]:
        for length in range(min(self.longest, len(phrase) - start, limit), MIN_INNER_CHARACTERS - 1, -1):
            row = self._row_of.get(phrase[start : start + length])
            if row is not None:
                return length, row
        return 1, None


def _simplified(writings: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    rows = (row for _, row in writings)
    return zip(all_simplified([writing for writing, _ in writings]), rows, strict=True)
