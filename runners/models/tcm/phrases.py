"""Splits the description of a patient into phrases, and marks the symptoms that the patient denies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.script import spaced
from runners.models.tcm.words import split_at_blanks

MAX_LEADS: Final = 4
"""Leading words that are stripped from a symptom."""
MAX_PHRASE_CHARACTERS: Final = 40
"""Characters of the longest phrase; the rest of the text is another phrase."""

_CLAUSES: Final = re.compile(r"[，,。．；;：:！!？?\n\r\t()（）\[\]【】“”\"]|\.(?=\s|$|[\u3400-\u9fff])")
_ITEMS: Final = re.compile(r"[、/／]")
_DENIAL: Final = re.compile(
    r"(?:否认有?|未见明显|无明显|未觉|未见|未有|未诉|并无|没有|没|无|未|不伴有?"
    r"|no |not |without |pas de |pas d'|sans )"
)
_LEAD: Final = re.compile(
    r"(?P<there>目前|现|尚|仍|但|伴有|伴|时有|偶有|常有|常|兼见|兼有|兼|症见|有|with )"
    r"|(?:患者|自觉|及|和|或|且|并|而|又|and |avec |et )"
)
"""Words before a symptom; those of the group ``there`` affirm it even after a denial."""
_BEFORE_DENIAL: Final = re.compile(r"(?:目前|尚|但|而|并|仍|也|亦)$")
_FIRST: Final = re.compile(rf"{_LEAD.pattern}|{_DENIAL.pattern}|不")
"""Words that may precede a known term."""


@dataclass(frozen=True)
class Phrase:
    """A phrase of the description: ``text`` as the tables write it, ``denied`` if the patient does not have it."""

    text: str
    denied: bool = False


def phrases(texts: Iterable[str], lexicon: Lexicon) -> list[Phrase]:
    """Return the different phrases of a list of symptoms or of running text, in order.

    A blank between Chinese terms separates them like a comma. "无X、Y" denies both; a term that begins with a denial
    (无汗, 不寐) is an ordinary symptom.
    """
    return list(dict.fromkeys(phrase for text in texts for phrase in _phrases(spaced(text), lexicon)))


def _phrases(text: str, lexicon: Lexicon) -> Iterator[Phrase]:
    for clause in _CLAUSES.split(text):
        denied = False  # a denial applies to the rest of its clause, or until an affirmation
        for item in _ITEMS.split(clause):
            parts = split_at_blanks(item.strip(), lambda text: _is_known(text, lexicon), lexicon.longest)
            for number, part in enumerate(parts):
                trimmed, affirmed = _trimmed(part, lexicon)
                for piece in _pieces(trimmed, lexicon):
                    phrase = _read(piece, lexicon)
                    still_denied = denied and not number and not affirmed and not _begins_with_denial(piece)
                    denied = phrase.denied or still_denied
                    yield Phrase(phrase.text, denied)


def _is_known(text: str, lexicon: Lexicon) -> bool:
    """Return whether a text is a known term, possibly denied or after leading words."""
    if lexicon.exact(text) is not None:
        return True
    if _FIRST.match(text) is None:
        return False
    trimmed, _ = _trimmed(text, lexicon)
    return lexicon.exact(_read(trimmed, lexicon).text) is not None


def _read(piece: str, lexicon: Lexicon) -> Phrase:
    if lexicon.exact(piece) is not None:
        return Phrase(piece)
    denial = _DENIAL.match(piece)
    denied_text = piece[denial.end() :].strip() if denial else ""
    if lexicon.begins(denied_text):
        return Phrase(denied_text, denied=True)
    if piece.startswith("不") and lexicon.exact(piece[1:]) is not None:
        return Phrase(piece[1:], denied=True)
    return Phrase(piece)


def _begins_with_denial(piece: str) -> bool:
    return piece.startswith("不") or _DENIAL.match(piece) is not None


def _pieces(item: str, lexicon: Lexicon) -> Iterator[str]:
    """Yield the parts of an item: divided before a denial inside it (头痛无发热), and cut if it is long."""
    for start in range(0, len(item), MAX_PHRASE_CHARACTERS):
        piece = item[start : start + MAX_PHRASE_CHARACTERS]
        cut = _inner_denial(piece, lexicon)
        yield from (piece[:cut], piece[cut:]) if cut else (piece,)


def _trimmed(item: str, lexicon: Lexicon) -> tuple[str, bool]:
    """Return an item without its leading words, and whether one of them affirms what follows."""
    affirmed = False
    for _ in range(MAX_LEADS):
        lead = _LEAD.match(item)
        if lead is None or lexicon.exact(item) is not None:
            break
        affirmed = affirmed or lead["there"] is not None
        item = item[lead.end() :].strip()
    return item, affirmed


def _inner_denial(piece: str, lexicon: Lexicon) -> int:
    """Return the position of a denial between two symptoms; 0 if there is none."""
    if lexicon.exact(piece) is not None:
        return 0
    for denial in _DENIAL.finditer(piece, 1):
        before = _BEFORE_DENIAL.sub("", piece[: denial.start()]).strip()
        if lexicon.exact(before) is not None and lexicon.begins(piece[denial.end() :].strip()):
            return denial.start()
    return 0
