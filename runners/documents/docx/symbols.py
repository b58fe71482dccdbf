"""Unicode characters for the symbol fonts that Word ships, whose codes are not letters.

Word stores such a character by its number in the font, from 0x20 to 0xFF or moved up to U+F020 to U+F0FF.
"""

from __future__ import annotations

from typing import Final

TICKED: Final = "☒"
"""Ticked box of unspecified look: Word draws a cross in it."""
UNTICKED: Final = "☐"
"""Empty box."""

FIRST, LAST, PRIVATE = 0x20, 0xFF, 0xF000

SYMBOL: Final = (
    " !∀#∃%&∍()*+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}~"
    + "\0" * 33
    + "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\0〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"
)
"""Adobe's Symbol font from 0x20 on; a zero where the font has no glyph."""


def _by_number(*rows: tuple[int, str]) -> dict[int, str]:
    return {first + place: character for first, characters in rows for place, character in enumerate(characters)}


# Of the other fonts' pictures, only those with a meaning in running text.
WINGDINGS: Final = _by_number(
    (0x20, " "),
    (0x6C, "●"),
    (0x6E, "■" + UNTICKED * 5),
    (0x78, TICKED),
    (0x80, "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿"),
    (0x9F, "•"),
    (0xA1, "○"),
    (0xA4, "◉"),
    (0xA7, "▪" + UNTICKED),
    (0xAB, "★"),
    (0xDF, "←→↑↓↖↗↙↘←→↑↓↖↗↙↘⇐⇒⇑⇓⇔"),
    (0xFB, "✗✓☒☑"),
)
WINGDINGS_2: Final = _by_number(
    (0x20, " "),
    (0x4F, "✗✓✗☑☒☒☒"),
    (0x69, "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿"),
    (0x97, "●"),
    (0xA0, "■"),
    (0xA3, UNTICKED),
)
WEBDINGS: Final = _by_number((0x20, " "), (0x61, "✓"), (0x63, UNTICKED), (0x67, "■"), (0x72, "✗"))

FONTS: Final[dict[str, dict[int, str]]] = {
    "symbol": {FIRST + place: character for place, character in enumerate(SYMBOL) if character != "\0"},
    "wingdings": WINGDINGS,
    "wingdings 2": WINGDINGS_2,
    "wingdings 3": _by_number((0x20, " "), (0x22, "←→↑↓")),
    "webdings": WEBDINGS,
}


def character(font: str, number: int) -> str:
    """Return what a symbol font draws for ``number``; "" for a meaningless picture. Other fonts draw the letter."""
    table = FONTS.get(font.strip().lower())
    place = number - PRIVATE if PRIVATE + FIRST <= number <= PRIVATE + LAST else number
    if table is None or not FIRST <= place <= LAST:
        return chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
    return table.get(place, "")


def named(font: str, number: str) -> str:
    """Return the same for a hexadecimal number; "" where it is invalid."""
    try:
        return character(font, int(number, 16))
    except ValueError:
        return ""


def text(font: str, written: str) -> str:
    """Return text in ``font`` as a reader sees it: in a symbol font, letters stand for pictures."""
    if font.strip().lower() not in FONTS:
        return written
    return "".join(character(font, ord(letter)) for letter in written)
