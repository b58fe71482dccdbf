"""ROUGE F1 of a summary against one reference, over lower-cased words with their accents.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. The rouge-score package takes accents and every
other letter that is not ASCII for spaces, and cannot measure French.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Rouge:
    """Three F1 values in [0, 1]: of words, of pairs of words, and of the longest common subsequence."""

    one: float
    two: float
    longest: float


class Reference:
    """A reference summary, ready to be compared with many."""

    def __init__(self, text: str) -> None:
        self.words = words(text)
        self._ones, self._twos = Counter(self.words), Counter(_pairs(self.words))
        self._places: dict[str, int] = {}
        for place, word in enumerate(self.words):
            self._places[word] = self._places.get(word, 0) | 1 << place

    def rouge(self, said: list[str]) -> Rouge:
        """Of a summary's words."""
        return Rouge(
            _f1(_overlap(self._ones, said), len(said), len(self.words)),
            _f1(_overlap(self._twos, _pairs(said)), max(0, len(said) - 1), max(0, len(self.words) - 1)),
            _f1(self._longest_common(said), len(said), len(self.words)),
        )

    def _longest_common(self, said: list[str]) -> int:
        """The length of the longest common subsequence, a row of its table at once in the bits of a number.

        Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
        """
        whole = (1 << len(self.words)) - 1
        row = whole
        for word in said:
            matched = row & self._places.get(word, 0)
            row = ((row + matched) | (row - matched)) & whole
        return len(self.words) - row.bit_count()


def rouge(summary: str, reference: str) -> Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1; 0 where either text has no word."""
    return Reference(reference).rouge(words(summary))


def words(text: str) -> list[str]:
    """What is counted: lower-cased runs of word characters."""
    return _WORD.findall(text.lower())


def _pairs(said: list[str]) -> list[tuple[str, str]]:
    return list(pairwise(said))


def _overlap(reference: Counter[Item], said: list[Item]) -> int:
    return (reference & Counter(said)).total()


def _f1(overlap: int, said: int, wanted: int) -> float:
    return 2 * overlap / (said + wanted) if overlap else 0.0
