"""The differentiation network's input for a phrase: the ids of its known terms and of its characters."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runners.models.tcm import tables
from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.script import is_chinese

PADDING: Final = 0
"""Id that fills short rows up."""
MAX_GRAM_CHARACTERS: Final = 2
"""Characters of the longest n-gram."""

Integers = NDArray[np.int64]


def symptom_lexicon(skipped: Container[str] = ()) -> Lexicon:
    """Return the lexicon of the symptom table, without the ``skipped`` writings."""
    return Lexicon(((symptom.names, symptom.synonyms) for symptom in tables.symptoms()), skipped)


def grams(phrase: str) -> set[str]:
    """Return a Chinese phrase's character n-grams, with its ends marked by ``^`` and ``$``; empty for other phrases."""
    if not is_chinese(phrase):
        return set()
    marked = f"^{phrase}$"
    pieces = {
        marked[start : start + length]
        for length in range(1, MAX_GRAM_CHARACTERS + 1)
        for start in range(len(marked) - length + 1)
    }
    return pieces - {"^", "$"}


class Features:
    """The ids of phrases: first the rows of the symptom table, from 1, then the n-grams of the training data."""

    def __init__(self, lexicon: Lexicon, known_grams: Sequence[str]) -> None:
        self.lexicon = lexicon
        self._first_gram = len(tables.symptoms()) + 1
        self._gram_ids: Mapping[str, int] = {gram: self._first_gram + row for row, gram in enumerate(known_grams)}
        self.count = self._first_gram + len(known_grams)

    def of(self, phrase: str) -> list[int]:
        """Return the sorted ids of a phrase; empty if it is unknown."""
        terms = {row + 1 for row in self.lexicon.inside(phrase)}
        characters = {self._gram_ids[gram] for gram in grams(phrase) if gram in self._gram_ids}
        return sorted(terms | characters)


def padded(rows: Iterable[Sequence[int]]) -> Integers:
    """Return lists of ids as one array [P, longest], with ``PADDING`` at the end and at least one column."""
    lists = list(rows)
    array = np.full((len(lists), max([1, *map(len, lists)])), PADDING, dtype=np.int64)
    for row, numbers in enumerate(lists):
        array[row, : len(numbers)] = numbers
    return array
