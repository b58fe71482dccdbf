"""Counts and cuts texts by tokens, for engines without their own tokenizer, and removes control characters."""

from __future__ import annotations

import re
from typing import Final

CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
"""Characters that are a token each, as the inside of a regular expression's class."""

ELLIPSIS: Final = "…"
MAX_WORD_CHARACTERS: Final = 24
"""Characters of the longest token; longer runs are rarely words, or their script has no spaces between words."""

_TOKEN = re.compile(rf"[{CJK}]|[^\W{CJK}]{{1,{MAX_WORD_CHARACTERS}}}|[^\w\s]")
_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Lone surrogates cannot be encoded as UTF-8; the others are invisible, and reverse text or divide words.
_NEVER_TEXT = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_DANGLING = " ,;:–—-([{«“„\"'"


def tokens(text: str) -> int:
    """Return the number of tokens in a text, an upper estimate for usual tokenizers.

    A token is a run of up to 24 word characters, a Chinese, Japanese or Korean character, or any other character that
    is not a space.
    """
    return sum(1 for _ in _TOKEN.finditer(text))


def clean(text: str) -> str:
    """Return the text with newlines as line breaks, without control characters and lone surrogates."""
    return _NEVER_TEXT.sub("", _LINE_BREAK.sub("\n", text))


def cut(text: str, limit: int) -> str:
    """Return the longest beginning within ``limit`` tokens; a cut text ends with "…" if the limit is above 1."""
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
