"""ROUGE F1 of a summary against one reference, over lower-cased words with their accents.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. The rouge-score package treats every letter that is
not ASCII as a space, so that it cannot measure French.
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
    """F1 values in [0, 1]: of words, of pairs of words, and of the longest common subsequence."""

    rouge1: float
    rouge2: float
    rouge_l: float


class Reference:
    """A reference summary, prepared for comparison with many summaries."""

    def __init__(self, text: str) -> None:
        self.words = words(text)
        self._word_counts, self._pair_counts = Counter(self.words), Counter(_pairs(self.words))
        self._positions: dict[str, int] = {}
        """A bit mask for each word: the positions at which it stands."""
        for position, word in enumerate(self.words):
            self._positions[word] = self._positions.get(word, 0) | 1 << position

    def rouge(self, summary: list[str]) -> Rouge:
        """Return the scores of a summary, given as its words."""
        return Rouge(
            _f1(_overlap(self._word_counts, summary), len(summary), len(self.words)),
            _f1(_overlap(self._pair_counts, _pairs(summary)), max(0, len(summary) - 1), max(0, len(self.words) - 1)),
            _f1(self._lcs_length(summary), len(summary), len(self.words)),
        )

    def _lcs_length(self, summary: list[str]) -> int:
        """The length of the longest common subsequence; a row of the table is the bits of one integer.

        Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
        """
        all_bits = (1 << len(self.words)) - 1
        row = all_bits
        for word in summary:
            matched = row & self._positions.get(word, 0)
            row = ((row + matched) | (row - matched)) & all_bits
        return len(self.words) - row.bit_count()


def rouge(summary: str, reference: str) -> Rouge:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L F1; 0 where either text has no word."""
    return Reference(reference).rouge(words(summary))


def words(text: str) -> list[str]:
    """Return the lower-cased runs of word characters."""
    return _WORD.findall(text.lower())


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(pairwise(words))


def _overlap(reference: Counter[Item], summary: list[Item]) -> int:
    return (reference & Counter(summary)).total()


def _f1(overlap: int, count: int, reference_count: int) -> float:
    return 2 * overlap / (count + reference_count) if overlap else 0.0
