"""How long is a text? One count of tokens for every engine that has no tokenizer of its own, and what never is text."""

from __future__ import annotations

import re
from typing import Final

CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
"""Characters of scripts that are counted one by one, as the inside of a regular expression's class."""

ELLIPSIS: Final = "…"
LONGEST_WORD: Final = 24
"""Characters of one token: what is longer is no word, or of a script that puts no space between words."""

_TOKEN = re.compile(rf"[{CJK}]|[^\W{CJK}]{{1,{LONGEST_WORD}}}|[^\w\s]")
_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Lone surrogates cannot be sent as UTF-8; the rest is invisible and turns text around or breaks words apart.
_NEVER_TEXT = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_DANGLING = " ,;:–—-([{«“„\"'"


def tokens(text: str) -> int:
    """How many tokens a text has, at most, however they are usually counted.

    Every run of up to 24 word characters is one, every Chinese, Japanese or Korean character is one, and so is every
    other character that is not a space.
    """
    return sum(1 for _ in _TOKEN.finditer(text))


def clean(text: str) -> str:
    """The text with every line break as a newline, and without control characters and lone surrogates."""
    return _NEVER_TEXT.sub("", _LINE_BREAK.sub("\n", text))


def cut(text: str, limit: int) -> str:
    """The longest beginning of ``limit`` tokens or fewer that ends with a word; with "…" where there is room for it."""
    ends = []
    for token in _TOKEN.finditer(text):
        ends.append(token.end())
        if len(ends) > limit:
            break
    if len(ends) <= limit:
        return text
    if limit == 1:
        return text[: ends[0]].strip()
    return text[: ends[limit - 2]].rstrip(_DANGLING) + ELLIPSIS
