"""Unicode normalization in linear time: each letter keeps at most thirty combining marks.

``unicodedata`` sorts the marks of a letter by insertion: a hundred thousand take minutes and block every thread.
Thirty is the limit of Unicode's stream-safe text format (UAX #15); no language needs more than ten.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final, Literal

MAX_MARKS: Final = 30
"""Combining marks that are kept per letter."""


def normalized(text: str, form: Literal["NFC", "NFD", "NFKC", "NFKD"] = "NFKC") -> str:
    """Return the text in a normal form, without the marks of a letter beyond ``MAX_MARKS``."""
    return text if text.isascii() else unicodedata.normalize(form, "".join(_bounded(text)))


def _bounded(text: str) -> Iterator[str]:
    stacked = 0
    for character in text:
        stacked = stacked + 1 if unicodedata.combining(character) else 0
        if stacked <= MAX_MARKS:
            yield character
