"""Unicode's normal forms in linear time: of marks that are stacked on a letter, thirty are kept.

``unicodedata`` sorts the marks on a letter by insertion, so that a hundred thousand of them take minutes, during which
no other thread runs. Thirty is the bound of Unicode's stream-safe text format (UAX #15), and no language needs ten.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final, Literal

MARKS: Final = 30


def normalized(text: str, form: Literal["NFC", "NFD", "NFKC", "NFKD"] = "NFKC") -> str:
    """The text in a normal form, without the marks on a letter that come after the thirtieth."""
    return text if text.isascii() else unicodedata.normalize(form, "".join(_bounded(text)))


def _bounded(text: str) -> Iterator[str]:
    stacked = 0
    for character in text:
        stacked = stacked + 1 if unicodedata.combining(character) else 0
        if stacked <= MARKS:
            yield character
