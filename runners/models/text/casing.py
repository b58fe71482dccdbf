"""Sentence case for texts that have lost their capitals, so that what knows capitals can split them."""

from __future__ import annotations

import re
from typing import Final

MIN_ENDS: Final = 3
"""Possible sentence ends from which a text's case is judged. Where there are fewer, little is lost."""
MAX_CAPITAL_SHARE: Final = 0.01
"""Share of the words with a capital, up to which a text counts as lower-cased. Abbreviations end no other text."""
JUDGED_CHARACTERS: Final = 20_000
"""Characters at a text's beginning by which it is judged."""

_START = re.compile(r"(?:^|(?<=[.!?…]))[\"'”’»›)\]`]*(?:\s+|^)[\"'“„«‹(\[`¿¡]*\s?([^\W\d_])")
_WORD_START = re.compile(r"(?<![^\W_])[^\W\d_]")
_INITIALS = re.compile(r"(?<![^\W_])([^\W\d_])(?=\.(?:[^\W\d_]\.|\s?[^\W\d_]))")
# Titles that are no words of these languages. "on.", "me." and "col." end sentences.
_TITLE = re.compile(
    r"(?<!\w)(mmes?|mlles?|mgr|drs?|prof|st|ste|mrs?|ms|mm|m|hon|gov|sen|sgt|lt|capt|dott|sig|sra?)(?=\.\s)"
)


def is_lower_cased(text: str) -> bool:
    """Return whether a text of several sentences has no capitals; False for scripts that have none."""
    judged = text[:JUDGED_CHARACTERS]
    words = _WORD_START.findall(judged)
    capitals = sum(map(str.isupper, words))
    if capitals > MAX_CAPITAL_SHARE * len(words):
        return False
    starts: list[str] = [match[1] for match in _START.finditer(judged)]
    return sum(letter.title() != letter for letter in starts) > MIN_ENDS


def sentence_case(text: str) -> str:
    """Return the lower-cased text with capitals where sentences may begin, in titles and initials; of equal length."""
    for pattern in (_START, _INITIALS, _TITLE):
        text = pattern.sub(_capitalized, text)
    return text


def _capitalized(match: re.Match[str]) -> str:
    start = match.start(1) - match.start()
    capital = match[0][start].title()  # Georgian has capitals for whole words alone, which titles do not use
    return match[0] if len(capital) > 1 else match[0][:start] + capital + match[0][start + 1 :]
