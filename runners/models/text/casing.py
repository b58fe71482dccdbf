"""Sentence case for texts that have lost their capitals, so that what knows capitals can split them."""

from __future__ import annotations

import re
from typing import Final

MIN_ENDS: Final = 2
"""Possible sentence ends from which a text's case is judged."""
MAX_CAPITAL_SHARE: Final = 0.2
"""Share of capitals among what follows those ends, up to which a text counts as lower-cased."""

_START = re.compile(r"(?:^|(?<=[.!?…]))[\"'”’»›)\]`]*(?:\s+|^)[\"'“„«‹(\[`¿¡]*\s?([^\W\d_])")
_INITIALS = re.compile(r"(?<![^\W_])([^\W\d_])(?=\.(?:[^\W\d_]\.|\s?[^\W\d_]))")
# Titles that are no words of these languages. "on.", "me." and "col." end sentences.
_TITLE = re.compile(
    r"(?<!\w)(mmes?|mlles?|mgr|drs?|prof|st|ste|mrs?|ms|mm|m|hon|gov|sen|sgt|lt|capt|dott|sig|sra?)(?=\.\s)"
)


def is_lower_cased(text: str) -> bool:
    """Return whether sentences of the text begin without capitals; False for scripts that have none."""
    letters = [match[1] for match in _START.finditer(text)]
    cased = [letter for letter in letters if letter.upper() != letter.lower()]
    return len(cased) > MIN_ENDS and sum(map(str.isupper, cased)) <= MAX_CAPITAL_SHARE * len(cased)


def sentence_case(text: str) -> str:
    """Return the lower-cased text with capitals where sentences may begin, in titles and initials; of equal length."""
    for pattern in (_START, _INITIALS, _TITLE):
        text = pattern.sub(_capitalized, text)
    return text


def _capitalized(match: re.Match[str]) -> str:
    start = match.start(1) - match.start()
    upper = match[0][start].upper()
    return match[0] if len(upper) > 1 else match[0][:start] + upper + match[0][start + 1 :]
