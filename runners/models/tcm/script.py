"""One way of writing: simplified characters, one width, no spaces inside Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import opencc

from runners.models.text.normalized import normalized

_VARIANTS: Final = str.maketrans("痺欬瀉溼洩瘖’", "痹咳泻湿泄喑'")
"""Characters of older books that the conversion leaves as they are, and the typographer's apostrophe."""
_SPACE_IN_CHINESE: Final = re.compile(r"(?<=[\u3400-\u9fff])[^\S\r\n\t]+(?=[\u3400-\u9fff])")
_CHINESE: Final = re.compile(r"[\u3400-\u9fff]")


def simplified(text: str) -> str:
    """The text as ``spaced`` writes it, without blanks between Chinese characters."""
    return _SPACE_IN_CHINESE.sub("", spaced(text))


def spaced(text: str) -> str:
    """The text in simplified characters (OpenCC), full-width letters and digits made narrow, in lower case.

    Blanks and line ends stay; half of a surrogate pair becomes a question mark.
    """
    encodable = normalized(text).encode("utf-8", "replace").decode("utf-8")
    converted: str = _converter().convert(encodable).translate(_VARIANTS)
    return converted.lower().strip()


def all_simplified(texts: Sequence[str]) -> list[str]:
    """Each text of one line as ``simplified`` writes it, thousands at once."""
    return [line.strip() for line in simplified("\n".join(texts)).split("\n")] if texts else []


def is_chinese(text: str) -> bool:
    """Whether a Chinese character is in the text."""
    return _CHINESE.search(text) is not None


@cache
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")
