"""How long a summary is at least, and the sentences that make it so long.

The ranker learned its lengths from news, whose summaries have two or three sentences. A longer text, or a caller who
allows more than the usual summary, gets more of them: those with the most expected terms that are not said yet, for
their length (a budgeted maximum coverage, as in Lin and Bilmes, "Multi-document summarization via budgeted maximization
of submodular functions", NAACL 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from runners.models.summarizers.ranker import Scored

USUAL_TOKENS: Final = 128
"""Limit up to which news keep the length that was learned."""
SHARE: Final = 0.15
"""Share of a text that its summary has at least, where more than the usual limit is allowed."""
LONG_TEXT_TOKENS: Final = 2000
"""Tokens above which a text is longer than news."""
LONG_SHARE: Final = 0.05
"""Share of what such a text has beyond those, which its summary has at least within the usual limit, too."""
FILLED: Final = 0.85
"""Share of the limit that is enough: the next sentence may not fit."""
CANDIDATES: Final = 600
"""Sentences that may be added: the best of the text."""
MIN_NEW_TERMS: Final = 0.25
"""Share of a sentence's terms that must be new."""
SPARED_TERMS: Final = 8
"""Terms that make a short sentence count as a longer one, because its few terms are soon said."""
LENGTH_POWER: Final = 0.8
"""Power of the length by which what a sentence adds is divided."""
BEGINNING_SENTENCES: Final = 10
"""Sentences over which the preference for the beginning, where the first sentence counts twice, falls to a third."""


def least_tokens(text_tokens: int, limit: int) -> int:
    """Return the tokens that a summary of at most ``limit`` tokens has at least; 0 leaves its length to the ranker.

    It grows with both.
    """
    beyond_usual = min(limit - USUAL_TOKENS, SHARE * text_tokens)
    beyond_news = min(FILLED * limit, LONG_SHARE * (text_tokens - LONG_TEXT_TOKENS))
    return max(0, int(max(beyond_usual, beyond_news)))


def extended(scored: Scored, sizes: Sequence[int], chosen: Sequence[int], least: int, limit: int) -> list[int]:
    """Return the indices of the ``chosen`` sentences and of those added until there are ``least`` tokens, in order.

    ``sizes`` are the sentences' tokens, of which there are at most ``limit`` in the end. There are fewer than ``least``
    where no other sentence fits or says something new.
    """
    found, room = list(chosen), limit - sum(sizes[row] for row in chosen)
    missing = least - limit + room
    if missing <= 0:
        return sorted(found)
    pairs = _Pairs(scored, found)
    lengths = np.asarray(sizes, dtype=np.int64)[pairs.rows]
    while missing > 0 and len(lengths):
        gains = pairs.gains()
        gains[lengths > room] = -1
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        pairs.take(best)
        found.append(int(pairs.rows[best]))
        room, missing = room - int(lengths[best]), missing - int(lengths[best])
    return sorted(found)


class _Pairs:
    """The candidates' pairs of sentence and term, and the terms that are said already."""

    def __init__(self, scored: Scored, chosen: Sequence[int]) -> None:
        measured = scored.measured
        count = len(measured.lengths)
        self._said = np.zeros(len(scored.expected), dtype=np.bool_)
        self._said[measured.pair_term[np.isin(measured.pair_sentence, chosen)]] = True
        weights = np.where(self._said, 0, scored.expected)
        worth = np.bincount(measured.pair_sentence, weights[measured.pair_term], count)
        nearness = np.exp(-np.arange(count) / BEGINNING_SENTENCES)
        costs = (measured.lengths + SPARED_TERMS) ** LENGTH_POWER / (1 + nearness)
        best = np.argsort(-worth / costs, kind="stable")[:CANDIDATES]
        self.rows = np.setdiff1d(best, np.asarray(chosen, dtype=np.int64))
        """Indices of the candidates, in document order."""
        inside = np.isin(measured.pair_sentence, self.rows)
        self._sentence = np.searchsorted(self.rows, measured.pair_sentence[inside])
        self._term = measured.pair_term[inside]
        self._expected = scored.expected
        self._costs = costs[self.rows]
        self._terms = np.maximum(1, np.bincount(self._sentence, minlength=len(self.rows)))

    def gains(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return what each candidate adds for its length; -1 for one that repeats what is said."""
        new = ~self._said[self._term]
        worth = np.bincount(self._sentence, self._expected[self._term] * new, len(self.rows))
        fresh = np.bincount(self._sentence, new, len(self.rows)) / self._terms
        return np.where(fresh > MIN_NEW_TERMS, worth / self._costs, -1.0)

    def take(self, candidate: int) -> None:
        """Note the terms of a candidate as said."""
        self._said[self._term[self._sentence == candidate]] = True
