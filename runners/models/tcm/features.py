"""The differentiation network's input for a phrase: the numbers of its known terms and of its characters."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runners.models.tcm import tables
from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.script import is_chinese

PADDING: Final = 0
LONGEST_GRAM: Final = 2  # characters

Integers = NDArray[np.int64]


def symptom_lexicon(skipped: Container[str] = ()) -> Lexicon:
    """The lexicon of the symptom table, without the ``skipped`` writings."""
    return Lexicon(((symptom.names, symptom.synonyms) for symptom in tables.symptoms()), skipped)


def grams(phrase: str) -> set[str]:
    """Return the characters and character pairs of a Chinese phrase with its ends marked; empty for any other."""
    if not is_chinese(phrase):
        return set()
    marked = f"^{phrase}$"
    pieces = {
        marked[start : start + length]
        for length in range(1, LONGEST_GRAM + 1)
        for start in range(len(marked) - length + 1)
    }
    return pieces - {"^", "$"}


class Features:
    """Numbers of phrases: rows of the symptom table from 1 on, then the character pairs that training met."""

    def __init__(self, lexicon: Lexicon, known_grams: Sequence[str]) -> None:
        self.lexicon = lexicon
        self._first_gram = len(tables.symptoms()) + 1
        self._gram_ids: Mapping[str, int] = {gram: self._first_gram + row for row, gram in enumerate(known_grams)}
        self.count = self._first_gram + len(known_grams)

    def of(self, phrase: str) -> list[int]:
        """Return the numbers of one phrase; empty when it is unknown."""
        terms = {row + 1 for row in self.lexicon.inside(phrase)}
        characters = {self._gram_ids[gram] for gram in grams(phrase) if gram in self._gram_ids}
        return sorted(terms | characters)


def padded(rows: Iterable[Sequence[int]]) -> Integers:
    """Lists of numbers as one array [P, longest], filled up with ``PADDING``; at least one column."""
    lists = list(rows)
    array = np.full((len(lists), max([1, *map(len, lists)])), PADDING, dtype=np.int64)
    for row, numbers in enumerate(lists):
        array[row, : len(numbers)] = numbers
    return array
