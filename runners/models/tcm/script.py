"""Normalizes Chinese text: simplified characters, one width, no spaces between characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import opencc

from runners.models.text.normalized import normalized

_VARIANTS: Final = str.maketrans("痺欬瀉溼洩瘖’", "痹咳泻湿泄喑'")
"""Characters of older books that OpenCC does not convert, and the typographic apostrophe."""
_SPACE_IN_CHINESE: Final = re.compile(r"(?<=[\u3400-\u9fff])[^\S\r\n\t]+(?=[\u3400-\u9fff])")
_CHINESE: Final = re.compile(r"[\u3400-\u9fff]")


def simplified(text: str) -> str:
    """Return the text as ``spaced`` does, without blanks between Chinese characters."""
    return _SPACE_IN_CHINESE.sub("", spaced(text))


def spaced(text: str) -> str:
    """Return the text in simplified characters (OpenCC) and lower case, with full-width letters and digits narrowed.

    Blanks and line breaks stay; a lone surrogate becomes a question mark.
    """
    encodable = normalized(text).encode("utf-8", "replace").decode("utf-8")
    converted: str = _converter().convert(encodable).translate(_VARIANTS)
    return converted.lower().strip()


def all_simplified(texts: Sequence[str]) -> list[str]:
    """Return ``simplified`` of each text, in one pass for thousands of texts; a text must not contain a line break."""
    return [line.strip() for line in simplified("\n".join(texts)).split("\n")] if texts else []


def is_chinese(text: str) -> bool:
    """Return whether the text has a Chinese character."""
    return _CHINESE.search(text) is not None


@cache
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")
