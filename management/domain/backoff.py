"""How long to pause between attempts that keep failing."""

from __future__ import annotations

from typing import Final

MOST_DOUBLINGS: Final = 10


def backoff(failures: int, first: float, longest: float) -> float:
    """Seconds before the next attempt: ``first`` after one failure, doubled by each further one, up to ``longest``."""
    return min(longest, first * 2 ** min(failures - 1, MOST_DOUBLINGS)) if failures > 0 else 0.0
