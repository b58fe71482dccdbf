"""Splits sentences with sentencex, and corrects what it splits wrongly.

sentencex (Wikimedia) knows the marks and abbreviations of some three hundred languages. It parts "M. | Dupont", and
one quotation mark too few makes it take a page for a quotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import sentencex

from runners.models.text.tokens import clean

LONG: Final = 320  # characters above which a sentence is split again without its quotation marks
CHUNK: Final = 8_000  # characters that sentencex sees at once: nested quotation marks cost it their number squared
MANY_QUOTES: Final = 200  # of a chunk, apostrophes and all; more are no quotations
RELATIVES: Final = {"ca": "es", "co": "fr", "da": "nb", "it": "es", "kl": "nb", "oc": "fr"}
"""Languages whose rules cost sentencex a hundred to a thousand times what others do, and what is near to them."""
OWN_ENDS: Final = 400
"""Possible ends of sentences that the rules of such a language are asked about; beyond, those of its relative are."""
TAIL: Final = 120  # characters before a boundary that a rule may look at

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_LIST_ITEM = re.compile(r"\n(?=[^\S\n]*(?:[-–—•*▪‣]\s|\(?\d{1,3}[.)]\s))")
_BREAK = "\n\n"
_QUOTATION_MARKS = "\"'“”„‟‘’«»‹›「」『』"
_NO_QUOTES = str.maketrans(dict.fromkeys(_QUOTATION_MARKS, "\x1a"))  # one character for one: places stay where they are
_END = re.compile(r"[.!?。！？｡][\"'”’»›」』）)\]]*\s*")

# What a full stop after it does not end, whatever follows.
_TITLE = re.compile(
    r"(?:^|[\s('’\"«“„-])(?:MM?|Mmes?|Mlles?|Mgr|Me|Drs?|Prs?|Prof|St|Ste|Mrs?|Ms|Sra?s?|Srta|Dña?|Dª|Sigg?|Sig\.ra|Dott|"
    r"Dott\.ssa|Avv|Ing|On|Hrn?|Fr|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|cf|vs|"
    r"p\. ?ex|p\. ?ej|z\. ?B|d\. ?h|e\. ?g|i\. ?e)"
    r"\.\s*$"
)
# An initial: "J. K. Rowling". A word before it that is no name leaves it the end of a sentence: "vitamine C. Puis".
_INITIAL = re.compile(r"(?:^|[\s('’\"«“„-]|\.-?)[^\W\d_a-zß-öø-ÿ]\.\s*$")
_AFTER_LOWER = re.compile(r"[^\W\d_A-ZÀ-ÖØ-Þ][\s'’]+\S\.\s*$")
# What a full stop after it does not end where a number follows.
_BEFORE_NUMBER = re.compile(
    r"(?:^|[\s('’\"«“„-])(?:[Nn][or]s?|[Aa]rt|[Pp]p?|[Vv]ol|[Ff]igs?|[Cc]hap|[Cc]ap|[Aa]bs|[Pp]ár|[Tt][ée]l|env|ca|v|"
    r"janv|févr?|avr|juil|sept?|oct|nov|d[ée]c|jan|feb|mar|apr|aug|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|okt|dez)"
    r"\.\s*$",
    re.IGNORECASE,
)
_MARK = re.compile(r"[^\w\s,]\s*$")  # without one, a chunk ended in the middle of something
_GLUED = re.compile(r"(?<=[\w\"”»)][.!?])(?<=[a-zß-öø-ÿ0-9\"”»)].)(?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ'’ ])")  # "en 2019.Né à Łódź"
_STRAY_QUOTE = re.compile(r"[.!?…]\s+([\"“„«]|'')\s*$")  # it opens what follows
_LIST_NUMBER = re.compile(r"^\s*\(?(?:\d{1,3}|[a-zA-Z])[.)]\s*$")
_ADDRESS = re.compile(r"(?:://|www\.|@|/)\S*$")
_CLOSING = re.compile(r"^[\s\"'”’»›」』）)\]}.!?…,;:]*$")
_OPENING = re.compile(r"^[\s\"'“„«‹「『（(\[{¿¡–—-]*$")
_LOWER_START = re.compile(r"^[\s\"'”’»›)\]]*[a-zß-öø-ÿ]")


def split(text: str, language: str) -> list[str]:
    """Return the sentences of a text in order, stripped; a blank line ends a sentence.

    ``language`` is an ISO 639-1 code or "und". Nothing but white space and control characters is lost. Linear in the
    length of the text, whatever it holds.
    """
    return [sentence for paragraph in paragraphs(text, language) for sentence in paragraph]


def paragraphs(text: str, language: str, most: int | None = None) -> list[list[str]]:
    """Return the sentences by paragraph; no paragraph is empty. Splitting stops after ``most`` sentences."""
    rules = _Rules("en" if language == "und" else language)
    result: list[list[str]] = []
    left = most
    for paragraph in _laid_out(text):
        if left is not None and left <= 0:
            break
        result.append(_sentences(paragraph, rules, left))
        left = None if left is None else left - len(result[-1])
    return result


class _Rules:
    """Chooses the language whose rules split a text: its own, and after many costly calls those of a relative."""

    def __init__(self, language: str) -> None:
        self._language, self._ends = language, 0

    def for_chunk(self, chunk: str) -> str:
        """Return the language whose rules split the text's next chunk."""
        if self._language in RELATIVES:
            self._ends += sum(1 for _ in _END.finditer(chunk))
            if self._ends > OWN_ENDS:
                return RELATIVES[self._language]
        return self._language


def _laid_out(text: str) -> list[str]:
    """The paragraphs, each on one line: a line that ends inside a paragraph only wraps."""
    blocks = _BLANK_LINE.split(_LIST_ITEM.sub(_BREAK, clean(text)))
    return [laid_out for block in blocks if (laid_out := " ".join(block.split()))]


def _sentences(paragraph: str, rules: _Rules, most: int | None) -> list[str]:
    parts: list[list[str]] = []  # of each sentence: a string that grows piece by piece would cost its length squared
    before = ""
    for piece in _quotes_moved(_pieces(paragraph, rules)):
        if before and _belong_together(before, piece[:TAIL]):
            parts[-1].append(piece)
            before = (before + piece[-TAIL:])[-TAIL:]
        elif most is not None and len(parts) >= most:
            break
        else:
            parts.append([piece])
            before = piece[-TAIL:]
    return [" ".join("".join(pieces).split()) for pieces in parts]


def _quotes_moved(pieces: Iterator[str]) -> Iterator[str]:
    """The same text, in which an opening quotation mark stands at the beginning of a piece, not at an end."""
    carried = ""
    for piece in pieces:
        joined = carried + piece
        stray = _STRAY_QUOTE.search(joined, max(0, len(joined) - TAIL))
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
        crowded = sum(map(chunk.count, _QUOTATION_MARKS)) > MANY_QUOTES
        for piece in _segments(chunk, language, quotes=not crowded):
            for part in _segments(piece, language, quotes=False) if len(piece) > LONG else (piece,):
                yield from _GLUED.split(part)


def _chunks(paragraph: str) -> Iterator[str]:
    """Parts of bounded length, that end where a sentence may end if there is such a place."""
    start = 0
    while len(paragraph) - start > CHUNK:
        ends = [match.end() for match in _END.finditer(paragraph, start, start + CHUNK)]
        end = ends[-1] if ends else start + CHUNK
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
