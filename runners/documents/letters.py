"""Text repair: joins words that were hyphenated at line ends, and composes letters that were stored in parts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final

from runners.models.text.normalized import normalized

HYPHENS: Final = "-\u2010\u00ad\u00ac"
"""The hyphen, its Unicode variant, the soft hyphen, and the sign that some programs write for it."""
LOWER: Final = "a-zß-öø-ÿāăąćčďđēėęěğģīįıķļłńņňōőœřśşšťţūůűųźżžа-яёіїєґά-ώ"
PARTED: Final = re.compile(
    rf"(?<![^\W\d_]-)\b([^\W\d_]{{2,40}})([{HYPHENS}])[ \t]?\n[ \t]*(?:> ?)?([{LOWER}][^\W\d_]{{0,40}})"
)
WORD: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
SUSPENDED: Final = frozenset("and or to und oder bis et ou y o e ed och og en of".split())  # noqa: SIM905
"""Words that follow a suspended hyphen: "pre- and postwar"."""
PREFIXES: Final = frozenset("self well ex non half all mid cross post pre anti quasi semi vice franco anglo".split())  # noqa: SIM905
"""Prefixes that keep their hyphen at the end of a line."""
ARABIC: Final = re.compile("[\ufb50-\ufdcf\ufdf0-\ufdf9\ufe70-\ufefc]+")
LIGATURES: Final = re.compile("[\ufb00-\ufb06]")


def composed(text: str) -> str:
    """Compose letters and accents (NFC), and replace ligatures and presentation forms of Arabic letters."""
    result = ARABIC.sub(lambda forms: unicodedata.normalize("NFKC", forms[0]), text)
    result = LIGATURES.sub(lambda ligature: unicodedata.normalize("NFKC", ligature[0]), result)
    return normalized(result, "NFC")


def joined(text: str) -> str:
    """Join words that are hyphenated at a line end; hyphens that belong to a word stay."""
    if not PARTED.search(text):
        return text
    counts = Counter(word.lower() for word in WORD.findall(text))
    return PARTED.sub(lambda parts: _word(parts, counts), text)


def _word(parts: re.Match[str], counts: Counter[str]) -> str:
    first, hyphen, second = parts[1], parts[2], parts[3]
    if second.lower() in SUSPENDED:
        return parts[0]
    plain, hyphenated = f"{first}{second}", f"{first}-{second}"
    if hyphen in "-\u2010" and _has_hyphen(first, plain, hyphenated, counts):
        return hyphenated
    return plain


def _has_hyphen(first: str, plain: str, hyphenated: str, counts: Counter[str]) -> bool:
    """Whether the text writes the word with a hyphen elsewhere, or its first part is a prefix that keeps one."""
    as_whole, as_hyphenated = counts[plain.lower()], counts[hyphenated.lower()]
    return as_hyphenated > as_whole or (as_whole == 0 and first.lower() in PREFIXES)
