"""Decides which blanks separate terms, as commas do; a blank inside a term (头 痛) has no meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import Final

from runners.models.tcm.script import is_chinese

LEAD_CHARACTERS: Final = 8
"""Characters that leading words or a denial may add to a term."""
_CJK: Final = r"[\u3400-\u9fff]"
_BLANK: Final = re.compile(rf"(?<={_CJK})\s+|(?<!\s)\s++(?={_CJK})")
"""A blank beside a Chinese character; blanks between foreign words belong to a term."""


def split_at_blanks(item: str, is_known: Callable[[str], bool], longest: int) -> list[str]:
    """Return the parts of an item, without blanks between Chinese characters.

    Words are joined to known terms of at most ``longest`` characters, by dynamic programming: so that as few characters
    as possible stay unknown, and then with as many parts as possible. Adjacent unknown words stay one part.
    """
    words = _BLANK.split(item)
    if len(words) == 1:
        return words
    seams = ["" if is_chinese(left[-1:]) and is_chinese(right[:1]) else " " for left, right in pairwise(words)]
    may_stand_alone = _standalone(words, is_known)
    best: list[tuple[int, int, int]] = [(0, 0, 0)] * (len(words) + 1)  # unknown characters, minus parts, next word
    for start in range(len(words) - 1, -1, -1):
        unknown, parts, _ = best[start + 1]
        best[start] = (unknown + len(words[start]), parts, 0)
        for end, text in _joins(words, seams, start, longest + LEAD_CHARACTERS):
            if (end - start > 1 or may_stand_alone(text)) and is_known(text):
                best[start] = min(best[start], (best[end][0], best[end][1] - 1, end))
    return list(_parts(words, seams, best))


def _standalone(words: list[str], is_known: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return whether a word may be a part by itself: a single character only if all single characters are known.

    Otherwise a term was written character by character.
    """
    spelled = any(len(word) == 1 and not is_known(word) for word in words)
    return lambda word: len(word) > 1 or not spelled


def _joins(words: list[str], seams: list[str], start: int, limit: int) -> Iterator[tuple[int, str]]:
    """Yield joins of 1, 2, 3... words from ``start``, up to ``limit`` characters, each with the index of its end."""
    text = words[start]
    yield start + 1, text
    for end in range(start + 1, len(words)):
        text += seams[end - 1] + words[end]
        if len(text) > limit:
            return
        yield end + 1, text


def _parts(words: list[str], seams: list[str], best: list[tuple[int, int, int]]) -> Iterator[str]:
    def joined(start: int, end: int) -> str:
        return "".join(chain.from_iterable(zip(words[start:end], [*seams[start : end - 1], ""], strict=True)))

    start = unknown = 0  # where a part begins, and where the unknown words before it do
    while start < len(words):
        end = best[start][2]
        if end:
            if unknown < start:
                yield joined(unknown, start)
            yield joined(start, end)
            unknown = end
        start = end or start + 1
    if unknown < len(words):
        yield joined(unknown, len(words))
