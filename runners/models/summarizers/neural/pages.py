"""Text as pictures of pages, for a model that reads pictures: black on white, A4 at 150 dots an inch."""

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

SIZE: Final = (1240, 1754)
"""Pixels of a page."""

MARGIN: Final = 70
LETTER: Final = 20
"""Pixels of a letter's height: about 8,000 characters a page, and legible after the model's own resizing."""

LEADING: Final = 1.3

ROWS: Final = int((SIZE[1] - 2 * MARGIN) / (LETTER * LEADING))
"""Lines of a page."""

SAMPLE: Final = 300
"""How many of a text's most frequent characters are looked up in a font."""

COVERED: Final = 0.95
"""The share of a text's characters that the font must have; boxes in place of more would be summarized as boxes."""

FOLDERS: Final = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)

FONTS: Final = (
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
"""File names that are looked for, first those for letters, then those that have Chinese, too."""

UNDEFINED: Final = "\uffff"
"""No character, so that every font draws its box for it."""

WIDE: Final = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
"""Scripts in which a line may end after any character."""

WORDS: Final = re.compile(rf"[{WIDE}]|[^\S\n]{{1,100}}|[^\s{WIDE}]{{1,100}}")
"""What a line ends before or after; of what has no end, a hundred characters at a time."""

CLOSING: Final = "，。、；：！？）」』》”’,.;:!?)"
"""Marks that do not begin a line, in Chinese as elsewhere."""


def render(text: str, font: Path | None = None) -> Iterator[Image.Image]:
    """The pages of a text, 8-bit grey of ``SIZE``; at least one. Each is drawn when it is asked for.

    ``font`` is a file to draw with; None chooses an installed one. Letters are placed one after the other: scripts
    whose letters join (Arabic, Devanagari) are drawn right only where Pillow has libraqm. Raises, before a page is
    drawn, RunnerError when no font has the text's characters, and PayloadTooLarge above ``MAX_PAGES``.
    """
    face = choose(text, font)
    wrapped = wrap(text, lru_cache(10_000)(face.getlength), SIZE[0] - 2 * MARGIN)
    lines = list(islice(wrapped, MAX_PAGES * ROWS + 1)) or [""]
    if len(lines) > MAX_PAGES * ROWS:
        raise PayloadTooLarge("The text is too long for this model.")
    return (_page(lines[start : start + ROWS], face) for start in range(0, len(lines), ROWS))


def wrap(text: str, measure: Callable[[str], float], width: float) -> Iterator[str]:
    """Lines of at most ``width``, broken at spaces, between Chinese characters, or inside a word that is too wide.

    Blank lines that follow each other are one.
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
    for word in WORDS.findall(paragraph):
        yield from word if measure(word) > width else [word]


def _page(lines: list[str], face: ImageFont.FreeTypeFont) -> Image.Image:
    page = Image.new("L", SIZE, "white")
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + number * LETTER * LEADING), line, fill="black", font=face)
    return page


def choose(text: str, font: Path | None = None) -> ImageFont.FreeTypeFont:
    """The first font that draws all of the text's frequent characters, else the one that draws most of them."""
    letters = Counter(letter for letter in text if letter.isprintable() and not letter.isspace())
    sample = letters.most_common(SAMPLE)
    total = sum(times for _, times in sample)
    best, most = None, -1
    for path in [font] if font else installed():
        face = _opened(path)
        drawn = sum(times for letter, times in sample if _draws(path, letter))
        if drawn > most:
            best, most = face, drawn
        if drawn == total:
            break
    if best is None or most < COVERED * total:
        raise RunnerError(
            "This server has no font for the characters of the text, so that it cannot be drawn as pages."
        )
    return best


@cache
def installed() -> tuple[Path, ...]:
    """The known fonts of this machine, in the order of ``FONTS``."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob("*.[to]t[fc]")):
            found.setdefault(path.name, path)
    return tuple(found[name] for name in FONTS if name in found)


@cache
def _opened(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, LETTER)


@cache
def _draws(path: Path, letter: str) -> bool:
    face = _opened(path)
    return _mask(face, letter) != _mask(face, UNDEFINED)


def _mask(face: ImageFont.FreeTypeFont, letter: str) -> bytes:
    return bytes(face.getmask(letter))
