"""Cuts a text to a model's input: between sentences, or inside one that is too long by itself. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

WIDEST = 16
"""Characters per token that are assumed at most when a sentence is cut."""

Count = Callable[[str], int]
"""Counts a text's tokens; a prefix never has (many) more than the whole text."""


def chunks(sentences: Iterable[str], count: Count, limit: int, separator: str = " ") -> list[str]:
    """Join sentences by ``separator`` into texts of at most ``limit`` tokens, in order; nothing is lost.

    A sentence above the limit is cut, after a space where there is one. ``limit`` must hold any single character,
    about 4 tokens where they are bytes; a character beyond it becomes a chunk of its own.
    """
    parts = [part for sentence in sentences for part in cut(sentence, count, limit)]
    lengths = [count(part) for part in parts]

    def fits(several: list[str]) -> bool:
        return count(separator.join(several)) <= limit

    joined, start = [], 0
    while start < len(parts):
        end = _end(parts, lengths, start, limit, fits)
        joined.append(separator.join(parts[start:end]))
        start = end
    return joined


def _end(parts: list[str], lengths: list[int], start: int, limit: int, fits: Callable[[list[str]], bool]) -> int:
    """Return the end of the chunk from ``start``. Lengths are summed first: counting every prefix is quadratic."""
    end, total = start + 1, lengths[start]
    while end < len(parts) and total + lengths[end] <= limit:
        total += lengths[end]
        end += 1
    low = end if fits(parts[start:end]) else start + 1
    while low < end:  # separators and merged tokens change the count: binary search for what fits
        middle = (low + end + 1) // 2
        low, end = (middle, end) if fits(parts[start:middle]) else (low, middle - 1)
    return end


def cut(sentence: str, count: Count, limit: int) -> Iterator[str]:
    """Yield pieces of a sentence of at most ``limit`` tokens, stripped of white space."""
    text, start = sentence.strip(), 0
    while start < len(text):
        window = text[start : start + WIDEST * limit + 1]  # only what a piece needs: copying all of it is quadratic
        if len(window) <= WIDEST * limit and count(window) <= limit:
            yield window
            return
        end = _spaced(window, _longest(window, count, limit))
        yield window[:end].rstrip()
        start += end
        while start < len(text) and text[start].isspace():
            start += 1


def _longest(text: str, count: Count, limit: int) -> int:
    """Return how many leading characters fit the limit, at least one, by binary search."""
    low, high = 1, min(len(text), WIDEST * limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= limit else (low, middle - 1)
    return low


def _spaced(text: str, end: int) -> int:
    """Return the last space in the second half of ``text[:end]``, or ``end`` where there is none."""
    if end == len(text) or text[end].isspace():
        return end
    space = max(text.rfind(white, end // 2, end) for white in " \n\t")
    return space if space > 0 else end
