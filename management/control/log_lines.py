"""Lines of a log: which are new where each look shows its end, and how a terminal can show them."""

from __future__ import annotations

from collections.abc import Sequence


def fresh(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of ``now`` that were not in ``before``; both are the end of the same log, at two moments.

    The last line of ``before`` may be incomplete; if it has grown since, it is among the result.
    """
    for start in range(len(before)):
        rest = before[start:]
        complete, last = rest[:-1], rest[-1]
        if (
            len(now) >= len(rest)
            and list(now[: len(complete)]) == list(complete)
            and now[len(complete)].startswith(last)
        ):
            return now[len(rest) if now[len(complete)] == last else len(complete) :]
    return _after(before, now)


def _after(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """As ``fresh``, where ``now`` has more lines and contains all of ``before``."""
    for start in range(len(now) - len(before), 0, -1):
        if before and list(now[start : start + len(before)]) == list(before):
            return now[start + len(before) :]
    return now


def printable(text: str) -> str:
    """Replace control characters: what a model writes must not command the terminal that shows it."""
    return "".join(letter if letter.isprintable() or letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in text)
