"""How is a text cut where a model's input ends? Between sentences, or inside one that is too long by itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

WIDEST = 16
"""Characters a token is taken to stand for at most, when a sentence is cut."""

Count = Callable[[str], int]
"""How many tokens a text has; a prefix of a text never has (many) more than the text."""


def chunks(sentences: Iterable[str], count: Count, limit: int, separator: str = " ") -> list[str]:
    """The sentences, joined by ``separator`` into texts of at most ``limit`` tokens, in order; nothing is lost.

    A sentence above the limit is cut, after a space where there is one. ``limit`` must hold any single character,
    about 4 tokens where they are bytes; one that it does not hold stands alone.
    """
    parts = [part for sentence in sentences for part in cut(sentence, count, limit)]
    lengths = [count(part) for part in parts]

    def fits(several: list[str]) -> bool:
        return count(separator.join(several)) <= limit

    found, start = [], 0
    while start < len(parts):
        end = _end(parts, lengths, start, limit, fits)
        found.append(separator.join(parts[start:end]))
        start = end
    return found


def _end(parts: list[str], lengths: list[int], start: int, limit: int, fits: Callable[[list[str]], bool]) -> int:
    """Where the chunk from ``start`` ends. Lengths are added up first: counting every prefix takes squared time."""
    end, total = start + 1, lengths[start]
    while end < len(parts) and total + lengths[end] <= limit:
        total += lengths[end]
        end += 1
    low = end if fits(parts[start:end]) else start + 1
    while low < end:  # the separators, or tokens that joining has changed: a binary search for what fits
        middle = (low + end + 1) // 2
        low, end = (middle, end) if fits(parts[start:middle]) else (low, middle - 1)
    return end


def cut(sentence: str, count: Count, limit: int) -> Iterator[str]:
    """Pieces of at most ``limit`` tokens that together are the sentence, less the white space around each."""
    text, start = sentence.strip(), 0
    while start < len(text):
        rest = text[start : start + WIDEST * limit + 1]  # no more than a piece needs: copies of all cost its square
        if len(rest) <= WIDEST * limit and count(rest) <= limit:
            yield rest
            return
        end = _spaced(rest, _longest(rest, count, limit))
        yield rest[:end].rstrip()
        start += end
        while start < len(text) and text[start].isspace():
            start += 1


def _longest(text: str, count: Count, limit: int) -> int:
    """The most leading characters that are within the limit, at least one: a binary search."""
    low, high = 1, min(len(text), WIDEST * limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= limit else (low, middle - 1)
    return low


def _spaced(text: str, end: int) -> int:
    """The last space in the second half of ``text[:end]``, or ``end`` where there is none."""
    if end == len(text) or text[end].isspace():
        return end
    space = max(text.rfind(white, end // 2, end) for white in " \n\t")
    return space if space > 0 else end
