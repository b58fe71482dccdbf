"""Text as it was meant: words that were parted at line ends are joined, and letters that were taken apart composed."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final

from runners.models.text.normalized import normalized

HYPHENS: Final = "-\u2010\u00ad\u00ac"
"""The hyphen, its Unicode double, the soft hyphen, and the sign that some programs write for it."""
LOWER: Final = "a-zß-öø-ÿāăąćčďđēėęěğģīįıķļłńņňōőœřśşšťţūůűųźżžа-яёіїєґά-ώ"
PARTED: Final = re.compile(
    rf"(?<![^\W\d_]-)\b([^\W\d_]{{2,40}})([{HYPHENS}])[ \t]?\n[ \t]*(?:> ?)?([{LOWER}][^\W\d_]{{0,40}})"
)
WORD: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
SUSPENDED: Final = frozenset("and or to und oder bis et ou y o e ed och og en of".split())  # noqa: SIM905
"""Words after which a hyphen stands for what is left out: "pre- and postwar"."""
PREFIXES: Final = frozenset("self well ex non half all mid cross post pre anti quasi semi vice franco anglo".split())  # noqa: SIM905
"""Parts of words that keep their hyphen where it ends a line."""
ARABIC: Final = re.compile("[\ufb50-\ufdcf\ufdf0-\ufdf9\ufe70-\ufefc]+")
LIGATURES: Final = re.compile("[\ufb00-\ufb06]")


def composed(text: str) -> str:
    """The text with letter and accent as one character (NFC), and without written forms of Arabic letters."""
    found = ARABIC.sub(lambda forms: unicodedata.normalize("NFKC", forms[0]), text)
    found = LIGATURES.sub(lambda ligature: unicodedata.normalize("NFKC", ligature[0]), found)
    return normalized(found, "NFC")


def joined(text: str) -> str:
    """The text with words in one piece that a hyphen parts at a line end; a hyphen of their own stays."""
    if not PARTED.search(text):
        return text
    known = Counter(word.lower() for word in WORD.findall(text))
    return PARTED.sub(lambda parts: _word(parts, known), text)


def _word(parts: re.Match[str], known: Counter[str]) -> str:
    first, hyphen, second = parts[1], parts[2], parts[3]
    if second.lower() in SUSPENDED:
        return parts[0]
    whole, hyphenated = f"{first}{second}", f"{first}-{second}"
    if hyphen in "-\u2010" and _has_hyphen(first, whole, hyphenated, known):
        return hyphenated
    return whole


def _has_hyphen(first: str, whole: str, hyphenated: str, known: Counter[str]) -> bool:
    """Whether the rest of the text writes the word with a hyphen, or its first part nearly always has one."""
    as_whole, as_hyphenated = known[whole.lower()], known[hyphenated.lower()]
    return as_hyphenated > as_whole or (as_whole == 0 and first.lower() in PREFIXES)
