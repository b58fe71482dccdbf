"""Splits texts into sentences with sentencex, and corrects its errors.

sentencex (Wikimedia) knows the marks and abbreviations of some three hundred languages. But it splits "M. | Dupont",
after a missing quotation mark it treats a page as one quotation, and it finds no end in a text without capitals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Final

import sentencex

from runners.models.text.casing import is_lower_cased, sentence_case
from runners.models.text.tokens import clean

LONG_SENTENCE_CHARACTERS: Final = 320
"""Characters above which a sentence is split again without its quotation marks."""
CHUNK_CHARACTERS: Final = 8_000
"""Characters that sentencex gets at once: its cost is quadratic in nested quotation marks."""
MAX_QUOTATION_MARKS: Final = 200
"""Quotation marks and apostrophes of a chunk above which they are not treated as quotations."""
RELATIVES: Final = {"ca": "es", "co": "fr", "da": "nb", "it": "es", "kl": "nb", "oc": "fr"}
"""Languages whose rules are a hundred to a thousand times slower in sentencex than others, each with a related one."""
MAX_SLOW_ENDS: Final = 400
"""Possible sentence ends of a text that the rules of such a language check; then the related language's rules do."""
TAIL_CHARACTERS: Final = 120
"""Characters before a boundary that a rule may check."""

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_LIST_ITEM = re.compile(r"\n(?=[^\S\n]*(?:[-–—•*▪‣]\s|\(?\d{1,3}[.)]\s))")
_BREAK = "\n\n"
_QUOTATION_MARKS = "\"'“”„‟‘’«»‹›「」『』"
_NO_QUOTES = str.maketrans(dict.fromkeys(_QUOTATION_MARKS, "\x1a"))  # of equal length, so that positions stay valid
_END = re.compile(r"[.!?。！？｡][\"'”’»›」』）)\]]*\s*")

# Abbreviations before a full stop that never ends a sentence.
_TITLE = re.compile(
    r"(?:^|[\s('’\"«“„-])(?:MM?|Mmes?|Mlles?|Mgr|Me|Drs?|Prs?|Prof|St|Ste|Mrs?|Ms|Sra?s?|Srta|Dña?|Dª|Sigg?|Sig\.ra|Dott|"
    r"Dott\.ssa|Avv|Ing|On|Hrn?|Fr|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|cf|vs|"
    r"p\. ?ex|p\. ?ej|z\. ?B|d\. ?h|e\. ?g|i\. ?e)"
    r"\.\s*$"
)
# An initial, as in "J. K. Rowling". After a lower-case word it may end a sentence: "vitamine C. Puis".
_INITIAL = re.compile(r"(?:^|[\s('’\"«“„-]|\.-?)[^\W\d_a-zß-öø-ÿ]\.\s*$")
_AFTER_LOWER = re.compile(r"[^\W\d_A-ZÀ-ÖØ-Þ][\s'’]+\S\.\s*$")
# Abbreviations before a full stop that does not end a sentence if a number follows.
_BEFORE_NUMBER = re.compile(
    r"(?:^|[\s('’\"«“„-])(?:[Nn][or]s?|[Aa]rt|[Pp]p?|[Vv]ol|[Ff]igs?|[Cc]hap|[Cc]ap|[Aa]bs|[Pp]ár|[Tt][ée]l|env|ca|v|"
    r"janv|févr?|avr|juil|sept?|oct|nov|d[ée]c|jan|feb|mar|apr|aug|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|okt|dez)"
    r"\.\s*$",
    re.IGNORECASE,
)
_MARK = re.compile(r"[^\w\s,]\s*$")  # without a mark, a chunk ended inside a sentence
_GLUED = re.compile(r"(?<=[\w\"”»)][.!?])(?<=[a-zß-öø-ÿ0-9\"”»)].)(?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ'’ ])")  # "en 2019.Né à Łódź"
_STRAY_QUOTE = re.compile(r"[.!?…]\s+([\"“„«]|'')\s*$")  # it opens what follows
_LIST_NUMBER = re.compile(r"^\s*\(?(?:\d{1,3}|[a-zA-Z])[.)]\s*$")
_ADDRESS = re.compile(r"(?:://|www\.|@|/)\S*$")
_CLOSING = re.compile(r"^[\s\"'”’»›」』）)\]}.!?…,;:]*$")
_OPENING = re.compile(r"^[\s\"'“„«‹「『（(\[{¿¡–—-]*$")
_LOWER_START = re.compile(r"^[\s\"'”’»›)\]]*[a-zß-öø-ÿ]")


def split(text: str, language: str) -> list[str]:
    """Return the sentences of a text in order, stripped; a blank line ends a sentence.

    ``language`` is an ISO 639-1 code or "und". Only white space and control characters are lost. The cost is linear in
    the length of any text.
    """
    return [sentence for paragraph in paragraphs(text, language) for sentence in paragraph]


def paragraphs(text: str, language: str, limit: int | None = None) -> list[list[str]]:
    """Return the sentences by paragraph; no paragraph is empty. Splitting stops after ``limit`` sentences."""
    rules = _Rules("en" if language == "und" else language, lower_cased=is_lower_cased(text))
    result: list[list[str]] = []
    left = limit
    for paragraph in _unwrapped(text):
        if left is not None and left <= 0:
            break
        result.append(_sentences(paragraph, rules, left))
        left = None if left is None else left - len(result[-1])
    return result


class _Rules:
    """Chooses the language whose rules split a text: its own, or after many slow checks a related language.

    ``lower_cased`` says whether the text has no capitals at the beginning of its sentences.
    """

    def __init__(self, language: str, *, lower_cased: bool) -> None:
        self._language, self._ends = language, 0
        self.lower_cased = lower_cased

    def for_chunk(self, chunk: str) -> str:
        """Return the language whose rules split the text's next chunk."""
        if self._language in RELATIVES:
            self._ends += sum(1 for _ in _END.finditer(chunk))
            if self._ends > MAX_SLOW_ENDS:
                return RELATIVES[self._language]
        return self._language


def _unwrapped(text: str) -> list[str]:
    """Return the paragraphs, each as one line."""
    blocks = _BLANK_LINE.split(_LIST_ITEM.sub(_BREAK, clean(text)))
    return [line for block in blocks if (line := " ".join(block.split()))]


def _sentences(paragraph: str, rules: _Rules, limit: int | None) -> list[str]:
    parts: list[list[str]] = []  # the pieces of each sentence: extending a string piece by piece is quadratic
    before = ""
    cased = sentence_case(paragraph) if rules.lower_cased else paragraph
    for piece in _quotes_moved(_pieces(cased, rules)):
        if before and _belong_together(before, piece[:TAIL_CHARACTERS]):
            parts[-1].append(piece)
            before = (before + piece[-TAIL_CHARACTERS:])[-TAIL_CHARACTERS:]
        elif limit is not None and len(parts) >= limit:
            break
        else:
            parts.append([piece])
            before = piece[-TAIL_CHARACTERS:]
    ends = accumulate((sum(map(len, pieces)) for pieces in parts), initial=0)
    return [" ".join(paragraph[start:end].split()) for start, end in pairwise(ends)]


def _quotes_moved(pieces: Iterator[str]) -> Iterator[str]:
    """Move opening quotation marks from the end of a piece to the beginning of the next."""
    carried = ""
    for piece in pieces:
        joined = carried + piece
        stray = _STRAY_QUOTE.search(joined, max(0, len(joined) - TAIL_CHARACTERS))
        carried = joined[stray.start(1) :] if stray else ""
        yield joined[: stray.start(1)] if stray else joined
    if carried:
        yield carried


def _pieces(paragraph: str, rules: _Rules) -> Iterator[str]:
    first_end = _END.search(paragraph)
    if not first_end or first_end.end() == len(paragraph):
        yield paragraph
        return
    for chunk in _chunks(paragraph):
        language = rules.for_chunk(chunk)
        crowded = sum(map(chunk.count, _QUOTATION_MARKS)) > MAX_QUOTATION_MARKS
        for piece in _segments(chunk, language, quotes=not crowded):
            for part in _segments(piece, language, quotes=False) if len(piece) > LONG_SENTENCE_CHARACTERS else (piece,):
                yield from _GLUED.split(part)


def _chunks(paragraph: str) -> Iterator[str]:
    """Yield parts of limited length that end at a possible sentence end if there is one."""
    start = 0
    while len(paragraph) - start > CHUNK_CHARACTERS:
        ends = [match.end() for match in _END.finditer(paragraph, start, start + CHUNK_CHARACTERS)]
        end = ends[-1] if ends else start + CHUNK_CHARACTERS
        yield paragraph[start:end]
        start = end
    yield paragraph[start:]


def _segments(text: str, language: str, *, quotes: bool) -> Iterator[str]:
    start = 0
    for segment in sentencex.segment(language, text if quotes else text.translate(_NO_QUOTES)):
        yield text[start : start + len(segment)]
        start += len(segment)


def _belong_together(before: str, after: str) -> bool:
    if _CLOSING.match(after) or _OPENING.match(before) or _LIST_NUMBER.match(before):
        return True
    if _LOWER_START.match(after) or _TITLE.search(before):
        return True
    if _INITIAL.search(before) and not _AFTER_LOWER.search(before):
        return True
    if after[0].isdigit() and _BEFORE_NUMBER.search(before):
        return True
    if not _MARK.search(before):
        return True
    return not before[-1].isspace() and bool(_ADDRESS.search(before))
