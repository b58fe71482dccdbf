"""Removes text that is not a sentence: tables of contents, menus, runs of dates, link lists and references.

They do not belong in a summary if the text also has prose. Ordinary prose is returned unchanged: only runs of short
lines that look like entries, and marks that sentences never have, are removed. Cost is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from runners.models.text.tokens import CJK

MIN_ENTRIES: Final = 4
"""Consecutive entries from which they are a list rather than single headings."""
MAX_ENTRY_WORDS: Final = 9
MAX_ENTRY_CHARACTERS: Final = 90
"""Words and characters of the longest entry."""
MAX_LINE_CHARACTERS: Final = 300
"""Characters of the longest line that may be an entry, including spaces and dots."""
MAX_MEAN_WORDS: Final = 4.5
"""Mean words per entry above which a run of lines is wrapped prose."""
MAX_ENTRY_IDEOGRAPHS: Final = 14
"""Characters of the longest entry in scripts without spaces."""
MIN_WORDS: Final = 5
MIN_IDEOGRAPHS: Final = 9
"""Words or ideographs of the shortest sentence that counts as prose."""
MIN_RUN_WORDS: Final = 8
"""Words of the shortest run that is recognised without line ends."""
NUMERIC_SHARE: Final = 0.75
"""Share of numbers and months among the words from which a text that ends with a full stop is a run of numbers."""
NUMERIC_SHARE_OPEN: Final = 0.4
"""The same share for a text without a full stop."""
MIN_NUMBERS: Final = 4
"""Numbers in the shortest run of numbers."""
MAX_NUMBER_CHARACTERS: Final = 40
MAX_HEADING_WORDS: Final = 3
ADDRESS_SHARE: Final = 0.4
"""Share of addresses among the words of a link list."""
CAPITAL_SHARE: Final = 0.5
"""Share of words with a capital in a menu without line ends."""
MIN_MENU_WORDS: Final = 12
"""Words of the shortest menu without line ends."""

# A run of dots is matched from its beginning only: from each dot, the cost would be its length squared.
_LEADERS = re.compile(r"(?<![.…·_\s])\s*+(?:(?:[._·]\s?+){4,}+|(?:…\s?+){2,}+)\s*+(?:\d|[ivxlc]+\b)|(?<!-)-{6,}+\s*+\d")
_PAGE = re.compile(r"(?:\t|\s{2,})(?:p\.\s*)?(?:\d{1,4}|[ivxlc]{1,6})\s*\Z|\A\s*(?:\d+\.)*\d+\.?\s+\D.*\s\d{1,4}\s*\Z")
_ENDS = re.compile(r"[.!?…。！？｡؟۔।॥;；][\"'”’»›」』）)\]]*\s*\Z")
_INSIDE = re.compile(r"[a-zß-öø-ÿ\"”»)][.!?]\s+\S|[。！？｡؟۔।，、]")
_CONTINUES = re.compile(r"\A\s*[a-zß-öø-ÿ,;)]|[,\-–—]\s*\Z")
_LABEL = re.compile(r"\A\s*(?:[-–—•*▪‣·>›»]+|\(?(?:[0-9]{1,3}\.){0,4}[0-9]{1,3}[.)]?|\(?[a-z][.)])\s+")
_NUMBERED = re.compile(r"\A\s*\(?(?:[0-9]{1,3}\.){0,4}[0-9]{1,3}[.)]?\s+")
_DIGITS = re.compile(r"\d+")
_IDEOGRAPH = re.compile(rf"[{CJK}\u0e00-\u0eff]")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+|\S+\.(?:com|org|net|html?|php)\b\S*", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s[|›»•·>/–]\s|\s\|\s")
_MONTH = (
    r"jan(?:uary|vier|uar)?|feb(?:ruary|ruar)?|févr?(?:ier)?|mar(?:ch|s)?|märz?|apr(?:il)?|avr(?:il)?|ma[iy]|june?|juin"
    r"|juni|july?|juil(?:let)?|juli|aug(?:ust)?|août|sept?(?:ember|embre)?|o[ck]t(?:ober|obre)?|nov(?:ember|embre)?"
    r"|d[eé][cz](?:ember|embre)?|mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?"
    r"|sun(?:day)?|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|am|pm|uhr"
)
_NUMBER = re.compile(rf"\W*(?:\d[\d.,:/\-–h年月日時时分%]*|{_MONTH})\W*\Z", re.IGNORECASE)
_REFERENCE = re.compile(r"\A\s*(?:\[\d{1,3}\]|\^|\d{1,3}\.\s|[^\W\d_][\w'’-]+,\s(?:[^\W\d_]\.[\s-]?)+)")
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d[a-z]?\b")
_SOURCE = re.compile(
    r"\bdoi\b|\bISBN\b|\bISSN\b|\bet al\.|\bpp?\. ?\d|\bvol\. ?\d|\bno\. ?\d|\beds?\.|\(\d{4}[a-z]?\)|\barXiv\b"
    r"|\bRetrieved\b|\bAccessed\b|\bIn: |\bJournal\b|\bProceedings\b|\bPress\b|\bVerlag\b|\bUniversity\b|\d\(\d+\)"
    r"|https?://",
)


def without_lists(text: str) -> str:
    """Return the text without lines that are entries of a list, or unchanged if nothing else has a sentence."""
    lines = text.split("\n")
    dropped = {place for place, line in enumerate(lines) if _has_leaders(line)}
    for run in _runs(lines, _filled(lines)):
        dropped.update(run)
    for block in _blocks(lines):
        if sum(bool(_REFERENCE.match(lines[place])) for place in block) >= MIN_ENTRIES - 1 and _cites(lines, block):
            dropped.update(block)
    if not dropped:
        return text
    remaining = "\n".join("" if place in dropped else line for place, line in enumerate(lines))
    return remaining if _has_prose(remaining) else text


def without_runs(paragraphs: Sequence[list[str]]) -> list[list[str]]:
    """Return the paragraphs without text that is not a sentence, or unchanged if none of it is a sentence."""
    referenced = _references(paragraphs)
    remaining = [
        [sentence for sentence in paragraph if not is_run(sentence)]
        for place, paragraph in enumerate(paragraphs)
        if place not in referenced
    ]
    remaining = [paragraph for paragraph in remaining if paragraph]
    return (
        remaining if any(map(is_prose, (text for paragraph in remaining for text in paragraph))) else list(paragraphs)
    )


def is_prose(sentence: str) -> bool:
    """Return whether the text ends like a sentence and has enough words."""
    if not _ENDS.search(sentence[-20:]):
        return False
    return len(sentence.split()) >= MIN_WORDS or len(_IDEOGRAPH.findall(sentence)) >= MIN_IDEOGRAPHS


def is_run(sentence: str) -> bool:
    """Return whether the text is a heading or a run of numbers, dates, addresses, menu entries or leaders."""
    is_open = not _ENDS.search(sentence[-20:])
    leaders = len(_LEADERS.findall(sentence))
    if leaders > 1 or (leaders and is_open):
        return True
    words = sentence.split()
    if _are_numbers(sentence, words, is_open=is_open) or _are_addresses(sentence, words):
        return True
    return is_open and (_is_heading(sentence) or (len(words) >= MIN_RUN_WORDS and _is_menu(sentence, words)))


def _are_numbers(sentence: str, words: Sequence[str], *, is_open: bool) -> bool:
    if len(_DIGITS.findall(sentence)) < MIN_NUMBERS // 2:
        return False
    numbers = sum(_is_number(word) for word in words)
    return numbers >= MIN_NUMBERS and numbers >= (NUMERIC_SHARE_OPEN if is_open else NUMERIC_SHARE) * len(words)


def _are_addresses(sentence: str, words: Sequence[str]) -> bool:
    if "." not in sentence:
        return False
    addresses = sum(bool(_ADDRESS.match(word[:MAX_ENTRY_CHARACTERS])) for word in words if "." in word[1:-1])
    return addresses > 1 and addresses >= ADDRESS_SHARE * len(words)


def _is_number(word: str) -> bool:
    return len(word) <= MAX_NUMBER_CHARACTERS and bool(_NUMBER.match(word))


def _is_heading(sentence: str) -> bool:
    """Return whether the text has at most three words, or a few after a number."""
    if len(sentence) > MAX_ENTRY_CHARACTERS or len(_IDEOGRAPH.findall(sentence)) >= MIN_WORDS:
        return False
    bare = _NUMBERED.sub("", sentence)
    return len(bare.split()) <= (MAX_HEADING_WORDS if bare == sentence else MAX_ENTRY_WORDS)


def _is_menu(sentence: str, words: Sequence[str]) -> bool:
    parts = _SEPARATOR.split(sentence)
    if len(parts) > MIN_ENTRIES - 1 and len(words) <= MAX_MEAN_WORDS * len(parts):
        return True
    capitals = sum(word[:1].isupper() for word in words)
    return len(words) >= MIN_MENU_WORDS and capitals >= CAPITAL_SHARE * len(words) and "," not in sentence


def _has_leaders(line: str) -> bool:
    return len(line) <= MAX_LINE_CHARACTERS and bool(_LEADERS.search(line))


def _filled(lines: Sequence[str]) -> list[int]:
    """Return the indices of lines with text, without an isolated first line, which is a title."""
    places = [place for place, line in enumerate(lines) if line and not line.isspace()]
    alone = places and (len(places) == 1 or places[1] > places[0] + 1)
    return places[1:] if alone else places


def _blocks(lines: Sequence[str]) -> Iterator[list[int]]:
    """Yield the indices of each block of lines between blank lines that is long enough for a list of references."""
    for are_filled, group in groupby(range(len(lines)), key=lambda place: bool(lines[place].strip())):
        block = list(group)
        if are_filled and len(block) >= MIN_ENTRIES - 1:
            yield block


def _cites(lines: Sequence[str], block: Sequence[int]) -> bool:
    text = " ".join(lines[place] for place in block)
    return len(_YEAR.findall(text)) >= MIN_ENTRIES - 1 and len(_SOURCE.findall(text)) >= MIN_ENTRIES - 1


def _runs(lines: Sequence[str], places: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of each list: consecutive lines that are entries."""
    for are_entries, group in groupby(places, key=lambda place: _is_entry(lines[place])):
        run = list(group)
        if not are_entries or len(run) < MIN_ENTRIES:
            continue
        words = sum(len(lines[place].split()) for place in run)
        numbered = sum(bool(_PAGE.search(lines[place].rstrip())) for place in run)
        if words <= MAX_MEAN_WORDS * len(run) or 2 * numbered >= len(run):
            yield run


def _is_entry(line: str) -> bool:
    """Return whether a line may be an entry of a list: short, and neither a sentence nor part of a sentence."""
    if len(line) > MAX_LINE_CHARACTERS:
        return False
    bare = line.strip()
    if len(bare) > MAX_ENTRY_CHARACTERS:
        return False
    if _ENDS.search(bare):
        return _only_numbers(bare)
    if _PAGE.search(bare) or _LEADERS.search(bare):
        return True
    if _CONTINUES.search(bare) or _INSIDE.search(bare):
        return False
    text = _LABEL.sub("", bare)
    return len(text.split()) <= MAX_ENTRY_WORDS and len(_IDEOGRAPH.findall(text)) <= MAX_ENTRY_IDEOGRAPHS


def _only_numbers(line: str) -> bool:
    return all(map(_is_number, line.split()))


def _has_prose(text: str) -> bool:
    return any(is_prose(" ".join(block.split())) for block in re.split(r"\n[^\S\n]*\n", text))


def _references(paragraphs: Sequence[list[str]]) -> set[int]:
    """Return the indices of paragraphs that are references: at least three in a row."""
    referenced: set[int] = set()
    places = range(len(paragraphs))
    for are_references, group in groupby(places, key=lambda place: _is_reference(" ".join(paragraphs[place]))):
        run = list(group)
        if are_references and len(run) > 2:
            referenced.update(run)
    return referenced


def _is_reference(paragraph: str) -> bool:
    start = paragraph[:600]
    return bool(_REFERENCE.match(start) and _YEAR.search(start) and _SOURCE.search(start))
