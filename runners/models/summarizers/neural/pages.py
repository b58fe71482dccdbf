"""Draws text as pictures of pages, for a model that reads pictures: black on white, A4 at 150 dots per inch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from runners.errors import PayloadTooLarge, RunnerError
from runners.limits import MAX_PAGES

PAGE_SIZE: Final = (1240, 1754)
"""Width and height of a page in pixels."""

MARGIN: Final = 70
"""Pixels between the text and each edge of the page."""

FONT_SIZE: Final = 20
"""Font size in pixels: about 8,000 characters per page, legible after the model's own resizing."""

LINE_HEIGHT: Final = FONT_SIZE * 1.3
"""Pixels from one baseline to the next."""

LINES_PER_PAGE: Final = int((PAGE_SIZE[1] - 2 * MARGIN) / LINE_HEIGHT)

SAMPLE_SIZE: Final = 300
"""Number of a text's most frequent characters that are looked up in a font."""

MIN_COVERAGE: Final = 0.95
"""Share of a text's characters that the font must have; the others are drawn as boxes, which the model also reads."""

FONT_FOLDERS: Final = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)

FONT_FILES: Final = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "PingFang.ttc",
    "arial.ttf",
    "msyh.ttc",
)
"""File names of usable fonts by preference: first those for alphabets, then those that also have Chinese."""

UNDEFINED: Final = "\uffff"
"""A noncharacter: every font draws its box for missing characters."""

WIDE: Final = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
"""Characters after each of which a line may end, as the inside of a regular expression's class."""

WORD: Final = re.compile(rf"[{WIDE}]|[^\S\n]{{1,100}}|[^\s{WIDE}]{{1,100}}")
"""A unit between two possible line ends; longer runs of characters are divided after a hundred."""

CLOSING: Final = "，。、；：！？）」』》”’,.;:!?)"
"""Punctuation that never begins a line."""


def render(text: str, font: Path | None = None) -> Iterator[Image.Image]:
    """Return an iterator that draws the pages of a text, at least one, in 8-bit grey of ``PAGE_SIZE``.

    ``font`` is a font file; None chooses an installed font. Scripts whose letters join (Arabic, Devanagari) are drawn
    correctly only if Pillow has libraqm. Raises, before any page is drawn, RunnerError if no font has the text's
    characters, and PayloadTooLarge above ``MAX_PAGES``.
    """
    face = choose_font(text, font)
    wrapped = wrap(text, lru_cache(10_000)(face.getlength), PAGE_SIZE[0] - 2 * MARGIN)
    lines = list(islice(wrapped, MAX_PAGES * LINES_PER_PAGE + 1)) or [""]
    if len(lines) > MAX_PAGES * LINES_PER_PAGE:
        raise PayloadTooLarge("The text is too long for this model.")
    return (_page(lines[start : start + LINES_PER_PAGE], face) for start in range(0, len(lines), LINES_PER_PAGE))


def wrap(text: str, measure: Callable[[str], float], width: float) -> Iterator[str]:
    """Yield lines of at most ``width``, broken at spaces, between Chinese characters, or inside too wide a word.

    ``measure`` returns the width of a text. Consecutive blank lines become one.
    """
    for paragraph in _paragraphs(text):
        line, used = "", 0.0
        for word in _words(paragraph, measure, width):
            length = measure(word)
            if line and used + length > width and word not in CLOSING:
                yield line.rstrip()
                line, used = "", 0.0
            if line or not word.isspace():
                line, used = line + word, used + length
        yield line.rstrip()


def _paragraphs(text: str) -> Iterator[str]:
    for blank, lines in groupby(text.replace("\t", "    ").splitlines(), key=lambda line: not line.strip()):
        yield from [""] if blank else lines


def _words(paragraph: str, measure: Callable[[str], float], width: float) -> Iterator[str]:
    for word in WORD.findall(paragraph):
        yield from word if measure(word) > width else [word]


def _page(lines: list[str], face: ImageFont.FreeTypeFont) -> Image.Image:
    page = Image.new("L", PAGE_SIZE, "white")
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + number * LINE_HEIGHT), line, fill="black", font=face)
    return page


def choose_font(text: str, font: Path | None = None) -> ImageFont.FreeTypeFont:
    """Return the first font with all of the text's frequent characters, else the one with most of them.

    Only ``font`` is considered if it is given. Raises RunnerError below ``MIN_COVERAGE``.
    """
    letters = Counter(letter for letter in text if letter.isprintable() and not letter.isspace())
    sample = letters.most_common(SAMPLE_SIZE)
    total = sum(count for _, count in sample)
    best, best_covered = None, -1
    for path in [font] if font else installed_fonts():
        face = _load_font(path)
        covered = sum(count for letter, count in sample if _has_glyph(path, letter))
        if covered > best_covered:
            best, best_covered = face, covered
        if covered == total:
            break
    if best is None or best_covered < MIN_COVERAGE * total:
        raise RunnerError(
            "This server has no font for the characters of the text, so that it cannot be drawn as pages."
        )
    return best


@cache
def installed_fonts() -> tuple[Path, ...]:
    """Return the usable fonts of this machine, in the order of ``FONT_FILES``."""
    paths: dict[str, Path] = {}
    for folder in FONT_FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob("*.[to]t[fc]")):
            paths.setdefault(path.name, path)
    return tuple(paths[name] for name in FONT_FILES if name in paths)


@cache
def _load_font(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, FONT_SIZE)


@cache
def _has_glyph(path: Path, letter: str) -> bool:
    face = _load_font(path)
    return _mask(face, letter) != _mask(face, UNDEFINED)


def _mask(face: ImageFont.FreeTypeFont, letter: str) -> bytes:
    return bytes(face.getmask(letter))
