"""Splits a text into chunks that fit a model's input: between sentences, or inside a sentence that is too long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

MAX_TOKEN_CHARACTERS = 16
"""Characters per token that are assumed when a sentence is cut."""

Count = Callable[[str], int]
"""Counts a text's tokens; a prefix has at most about as many as the complete text."""


def chunks(sentences: Iterable[str], count: Count, limit: int, separator: str = " ") -> list[str]:
    """Join sentences by ``separator`` into chunks of at most ``limit`` tokens, in order; nothing is lost.

    A sentence above the limit is cut, at a space if there is one near. ``limit`` should be enough for any character,
    which is about 4 tokens if tokens are bytes; a character with more tokens becomes a chunk by itself.
    """
    parts = [part for sentence in sentences for part in cut(sentence, count, limit)]
    lengths = [count(part) for part in parts]

    def fits(candidates: list[str]) -> bool:
        return count(separator.join(candidates)) <= limit

    result, start = [], 0
    while start < len(parts):
        end = _end(parts, lengths, start, limit, fits)
        result.append(separator.join(parts[start:end]))
        start = end
    return result


def _end(parts: list[str], lengths: list[int], start: int, limit: int, fits: Callable[[list[str]], bool]) -> int:
    """Return the end of the chunk from ``start``. Lengths are summed first: counting every prefix is quadratic."""
    end, total = start + 1, lengths[start]
    while end < len(parts) and total + lengths[end] <= limit:
        total += lengths[end]
        end += 1
    low = end if fits(parts[start:end]) else start + 1
    while low < end:  # separators and merged tokens change the count: binary search
        middle = (low + end + 1) // 2
        low, end = (middle, end) if fits(parts[start:middle]) else (low, middle - 1)
    return end


def cut(sentence: str, count: Count, limit: int) -> Iterator[str]:
    """Yield pieces of a sentence with at most ``limit`` tokens each, stripped of white space."""
    text, start = sentence.strip(), 0
    while start < len(text):
        window = text[
            start : start + MAX_TOKEN_CHARACTERS * limit + 1
        ]  # copying the rest of the text each time is quadratic
        if len(window) <= MAX_TOKEN_CHARACTERS * limit and count(window) <= limit:
            yield window
            return
        end = _spaced(window, _longest(window, count, limit))
        yield window[:end].rstrip()
        start += end
        while start < len(text) and text[start].isspace():
            start += 1


def _longest(text: str, count: Count, limit: int) -> int:
    """Return the number of leading characters within the limit, at least one, by binary search."""
    low, high = 1, min(len(text), MAX_TOKEN_CHARACTERS * limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= limit else (low, middle - 1)
    return low


def _spaced(text: str, end: int) -> int:
    """Return the position of the last space in the second half of ``text[:end]``; ``end`` if there is none."""
    if end == len(text) or text[end].isspace():
        return end
    space = max(text.rfind(white, end // 2, end) for white in " \n\t")
    return space if space > 0 else end
