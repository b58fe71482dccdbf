"""Repairs letters that a PDF stores in parts or in the wrong order: separate accents, reversed Arabic ligatures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
BoxOf = Callable[[int], Box]

GARBAGE: Final = re.compile("[\ufffd\ue000-\uefff\uf0ff-\uf8ff\x00\x01\x03-\x08\x0e-\x1f\x7f-\x9f]")
"""Codes from fonts without a Unicode table; symbol fonts use U+F000 to U+F0FE legitimately."""
UNKNOWN: Final = 0xFFFD
NOTHING: Final = 0xFFFF
"""Placeholder for a character that has been merged into its neighbour; no text contains it."""

ACCENTS: Final = {
    0x60: 0x300, 0xB4: 0x301, 0x5E: 0x302, 0x2C6: 0x302, 0x7E: 0x303, 0x2DC: 0x303, 0xAF: 0x304, 0x2C9: 0x304,
    0x2D8: 0x306, 0x2D9: 0x307, 0xA8: 0x308, 0x2DA: 0x30A, 0xB0: 0x30A, 0x2DD: 0x30B, 0x2C7: 0x30C, 0xB8: 0x327,
    0x2DB: 0x328, 0x2CA: 0x301, 0x2CB: 0x300, 0x2019: 0x301, 0x384: 0x301, 0x1FBF: 0x313, 0x1FFE: 0x314,
    **{code: code for code in range(0x300, 0x32B)},
}  # fmt: skip
"""Spacing accents, and the combining marks that they stand for over a letter."""
UNDER: Final = 0.5
"""Share of the narrower width by which an accent overlaps its letter."""
NEAR: Final = 120
"""Characters before and after an accent among which its letter is searched by position."""
MAX_STRAYS: Final = 50
"""Accents of a page that are searched by position."""
DOTLESS: Final = {0x131: "i", 0x237: "j"}
RIGHT_TO_LEFT: Final = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
LIGATURES: Final = (*range(0xFB50, 0xFDFE), *range(0xFE70, 0xFEFD))


def character(code: int) -> str:
    """Return the character of a PDFium code; U+FFFD for an invalid one."""
    return chr(code) if code < 0x110000 else "\ufffd"


def mend(codes: list[int], box: BoxOf, *, is_sideways: bool) -> None:
    """Repair codes in place, keeping their number; ``box`` returns the box of a letter's ink."""
    kinds = set(codes)
    if kinds & ACCENTS.keys():
        _compose(codes, box, 1 if is_sideways else 0)
    if any(0x590 <= code <= 0xFEFC and RIGHT_TO_LEFT.match(chr(code)) for code in kinds):
        _reorder(codes, box)


def _compose(codes: list[int], box: BoxOf, axis: int) -> None:
    strays = []
    for index, code in enumerate(codes):
        if code not in ACCENTS:
            continue
        base = next((base for base in _neighbours(codes, index) if _belongs(codes, index, base, box, axis)), None)
        if base is None:
            strays.append(index)
            continue
        _join(codes, index, base)
        codes[min(index, base) + 1 : max(index, base)] = [NOTHING] * (abs(index - base) - 1)
    if axis == 0:
        _compose_strays(codes, strays[:MAX_STRAYS], box)


def _compose_strays(codes: list[int], strays: Sequence[int], box: BoxOf) -> None:
    """Compose accents over capitals, which are raised and therefore far from their letters in PDFium's order."""
    for index in strays:
        accent = box(index)
        for base in range(max(0, index - NEAR), min(len(codes), index + NEAR)):
            if codes[base] < 0x110000 and chr(codes[base]).isalpha() and _composed(codes[base], ACCENTS[codes[index]]):
                letter = box(base)
                height = letter[3] - letter[1]
                if _is_over(accent, letter, 0) and letter[1] + 0.5 * height < accent[1] < letter[3] + 0.4 * height:
                    _join(codes, index, base)
                    break


def _belongs(codes: Sequence[int], index: int, base: int, box: BoxOf, axis: int) -> bool:
    return _composed(codes[base], ACCENTS[codes[index]]) is not None and _is_over(box(index), box(base), axis)


def _join(codes: list[int], index: int, base: int) -> None:
    codes[base] = _composed(codes[base], ACCENTS[codes[index]]) or codes[base]
    codes[index] = NOTHING


def _neighbours(codes: Sequence[int], index: int) -> list[int]:
    """Return the letters after and before an accent; a space that PDFium puts between them is skipped."""
    neighbours = []
    for step in (1, -1):
        other = index + step
        while 0 <= other < len(codes) and abs(other - index) < 3 and codes[other] in {0x20, 0x0D, 0x0A, NOTHING}:
            other += step
        if 0 <= other < len(codes) and codes[other] < 0x110000 and chr(codes[other]).isalpha():
            neighbours.append(other)
    return neighbours


def _composed(letter: int, mark: int) -> int | None:
    composed = unicodedata.normalize("NFC", DOTLESS.get(letter, chr(letter)) + chr(mark))
    return ord(composed) if len(composed) == 1 else None


def _is_over(accent: Box, letter: Box, axis: int) -> bool:
    shared = min(accent[axis + 2], letter[axis + 2]) - max(accent[axis], letter[axis])
    narrower = min(accent[axis + 2] - accent[axis], letter[axis + 2] - letter[axis])
    other = 1 - axis
    apart = max(accent[other] - letter[other + 2], letter[other] - accent[other + 2])
    return shared > 0 and shared >= UNDER * narrower and apart < letter[other + 2] - letter[other]


def _reorder(codes: list[int], box: BoxOf) -> None:
    """Restore ligatures: PDFium reverses right-to-left lines, and with them the ordered letters of a ligature."""
    start = 0
    while start < len(codes) - 1:
        end = start + 1
        if _is_right_to_left(codes[start]):
            place = box(start)
            while end < len(codes) and _is_right_to_left(codes[end]) and box(end) == place:
                end += 1
        backwards = "".join(map(chr, reversed(codes[start:end])))
        if end - start > 1 and backwards in _ligatures() and backwards[::-1] not in _ligatures():
            codes[start:end] = codes[start:end][::-1]
        start = end


def _is_right_to_left(code: int) -> bool:
    return code < 0x110000 and RIGHT_TO_LEFT.match(chr(code)) is not None


@cache
def _ligatures() -> frozenset[str]:
    """Return the letters of each Arabic ligature, in order."""
    texts = (unicodedata.normalize("NFKC", chr(code)).strip() for code in LIGATURES)
    return frozenset(text for text in texts if len(text) > 1)
