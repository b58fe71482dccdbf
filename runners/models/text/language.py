"""Detects the language of a text."""

from __future__ import annotations

from threading import Lock
from typing import Final

from py3langid import classify

from runners.models.text.tokens import clean

UNDETERMINED: Final = "und"
"""ISO 639-2's code for a text whose language cannot be determined."""

PREFIX_CHARACTERS: Final = 20_000
"""Characters from the beginning of a text that are read, including spaces."""
SAMPLE_CHARACTERS: Final = 4_000
"""Characters that are classified, after runs of spaces are shortened."""
MIN_LETTERS: Final = 12
"""Letters from which an alphabetic language can be detected."""
MIN_IDEOGRAPHS: Final = 4
"""Ideographs from which a language can be detected; each tells more than a letter."""
_lock: Final = Lock()  # concurrent first calls would each load the statistics, through a temporary file


def detect(text: str) -> str:
    """Return the ISO 639-1 code of the language in which a text begins; "und" if it has too few letters.

    Classifies byte n-grams (Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", ACL 2012).
    The first call loads the statistics, which takes a second or more.
    """
    sample = " ".join(clean(text[:PREFIX_CHARACTERS]).split())[:SAMPLE_CHARACTERS]
    if not _is_long_enough(sample):
        return UNDETERMINED
    with _lock:
        code = str(classify(sample)[0])
    return code if len(code) == 2 else UNDETERMINED


def _is_long_enough(sample: str) -> bool:
    letters = sum(character.isalpha() for character in sample)
    ideographs = sum("\u3040" <= character <= "\u9fff" for character in sample)
    return letters >= MIN_LETTERS or ideographs >= MIN_IDEOGRAPHS
