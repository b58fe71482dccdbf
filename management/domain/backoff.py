"""How long to pause between attempts that keep failing."""

from __future__ import annotations

from typing import Final

MAX_DOUBLINGS: Final = 10
"""Doublings after which the pause no longer grows."""


def backoff(failures: int, first: float, longest: float) -> float:
    """Return the seconds before the next attempt: ``first``, doubled by each further failure, up to ``longest``."""
    return min(longest, first * 2 ** min(failures - 1, MAX_DOUBLINGS)) if failures > 0 else 0.0
