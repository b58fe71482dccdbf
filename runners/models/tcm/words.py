"""Where do blanks part an item? Between known terms, as commas do; inside a term (头 痛) they mean nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Final

from runners.models.tcm.script import is_chinese

SPARE: Final = 8
"""Characters that words before a term, or a denial, may add to it."""
_CJK: Final = r"[\u3400-\u9fff]"
_BLANK: Final = re.compile(rf"(?<={_CJK})\s+|(?<!\s)\s++(?={_CJK})")
"""A blank beside a Chinese character; those between foreign words belong to a term."""


def parted(item: str, is_known: Callable[[str], bool], longest: int) -> list[str]:
    """The parts of an item at its blanks, without blanks between Chinese characters.

    Words are joined to known terms, of at most ``longest`` characters, so that as few characters as possible stay
    unknown, and then so that the parts are as many as possible; unknown words beside each other stay one part.
    """
    words = _BLANK.split(item)
    if len(words) == 1:
        return words
    taken = _singles(words, is_known)
    best: list[tuple[int, int, int]] = [(0, 0, 0)] * (len(words) + 1)  # unknown characters, minus parts, next word
    for start in range(len(words) - 1, -1, -1):
        unknown, parts, _ = best[start + 1]
        best[start] = (unknown + len(words[start]), parts, 0)
        for end, text in _joins(words, start, longest + SPARE):
            if (end - start > 1 or taken(text)) and is_known(text):
                best[start] = min(best[start], (best[end][0], best[end][1] - 1, end))
    return list(_followed(words, best))


def _singles(words: list[str], is_known: Callable[[str], bool]) -> Callable[[str], bool]:
    """Whether a word may be a part alone: a single character only where all such words are known.

    Else somebody has written a term, character by character.
    """
    spelled = any(len(word) == 1 and not is_known(word) for word in words)
    return lambda word: len(word) > 1 or not spelled


def _joins(words: list[str], start: int, most: int) -> Iterator[tuple[int, str]]:
    """The words from ``start`` on, joined: one, two and so on, up to so many characters; and where each join ends."""
    text = words[start]
    yield start + 1, text
    for end in range(start + 1, len(words)):
        text = _joined(text, words[end])
        if len(text) > most:
            return
        yield end + 1, text


def _followed(words: list[str], best: list[tuple[int, int, int]]) -> Iterator[str]:
    start = 0
    unknown: list[str] = []
    while start < len(words):
        end = best[start][2]
        if end:
            if unknown:
                yield reduce(_joined, unknown)
            unknown = []
            yield reduce(_joined, words[start:end])
        else:
            unknown.append(words[start])
        start = end or start + 1
    if unknown:
        yield reduce(_joined, unknown)


def _joined(left: str, right: str) -> str:
    return left + right if is_chinese(left[-1:]) and is_chinese(right[:1]) else f"{left} {right}"
