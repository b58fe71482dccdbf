"""Which language is a text in?"""

from __future__ import annotations

from threading import Lock
from typing import Final

from py3langid import classify

from runners.models.text.tokens import clean

UNDETERMINED: Final = "und"
"""ISO 639-2's code for a text whose language cannot be determined."""

PREFIX: Final = 20_000  # characters that are read, including spaces
SAMPLE: Final = 4_000  # characters of them that are classified
LETTERS: Final = 12  # fewer say little of an alphabetic language
IDEOGRAPHS: Final = 4  # one of them says more than a letter
_one_at_a_time: Final = Lock()  # each of several first callers would load the counts, by way of a temporary file


def detect(text: str) -> str:
    """The ISO 639-1 code of the language that a text begins in, or "und" where it says too little.

    Counts byte n-grams (Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", ACL 2012).
    The first call loads the counts, which takes a second or more.
    """
    sample = " ".join(clean(text[:PREFIX]).split())[:SAMPLE]
    if not _says_enough(sample):
        return UNDETERMINED
    with _one_at_a_time:
        code = str(classify(sample)[0])
    return code if len(code) == 2 else UNDETERMINED


def _says_enough(sample: str) -> bool:
    letters = sum(character.isalpha() for character in sample)
    ideographs = sum("\u3040" <= character <= "\u9fff" for character in sample)
    return letters >= LETTERS or ideographs >= IDEOGRAPHS
