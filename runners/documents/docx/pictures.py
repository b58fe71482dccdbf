"""Pictures in a Word document: OCR reads the large ones as it reads pages, and their text takes their place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from PIL import Image

from runners.documents.document import TOO_MANY_PAGES
from runners.documents.docx.archive import Archive
from runners.documents.scans.pages import AsPictures, PageReader
from runners.errors import PayloadTooLarge, RunnerError
from runners.images import decode
from runners.limits import MAX_PAGES

LARGE: Final = 50.0
"""Square centimetres from which a picture beside text may be a scan; logos, icons and signatures are smaller."""
PIXELS: Final = 3_500.0
"""Pixels per square centimetre (150 dots an inch), for a picture of unknown size on paper."""
LETTERS: Final = 20
"""Letters that a picture beside text must have to be used: a photo has a few on a sign."""
LETTERS_SHARE: Final = 0.6
"""Share of letters that such a text must have: a diagram has numbers along its axes."""

MARK: Final = re.compile("\x1e([0-9]{1,4})\x1e")
"""Placeholder of a picture until it is read; XML cannot contain this character."""
IN_ROW: Final = re.compile(" \\| \x1e[0-9]{1,4}\x1e|\x1e[0-9]{1,4}\x1e(?: \\| )?")


class EmbeddedPictures:
    """The pictures of one document, each once, in order."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._areas: dict[str, float] = {}

    def mark(self, part: str, area: float) -> str:
        """Return the placeholder of a picture of ``area`` square centimetres; "" if it already has one."""
        if part in self._areas or part not in self._archive or len(self._areas) > MAX_PAGES:
            return ""
        self._areas[part] = area
        return f"\x1e{len(self._areas) - 1}\x1e"

    def read_into(self, blocks: list[str], pages: PageReader) -> list[str]:
        """Replace placeholders by the pictures' text. Raises PayloadTooLarge, and what ``pages`` raises."""
        is_beside_text = any(map(str.strip, without(blocks)))
        if is_beside_text and isinstance(pages, AsPictures):  # an engine that gets pictures ignores the text
            return without(blocks)
        if not is_beside_text and len(self._areas) > MAX_PAGES:
            raise PayloadTooLarge(TOO_MANY_PAGES)
        texts = [self._text(part, pages, is_beside_text) for part in self._areas]
        return _filled(blocks, texts)

    def _text(self, part: str, pages: PageReader, is_beside_text: bool) -> str:
        area = self._areas[part]
        image = None if is_beside_text and 0 < area < LARGE else self._decoded(part)
        if image is None or (is_beside_text and (area or image.width * image.height / PIXELS) < LARGE):
            return ""
        with image:
            text = pages.read(image).strip()
        return text if not is_beside_text or _is_prose(text) else ""

    def _decoded(self, part: str) -> Image.Image | None:
        """Return None for a picture that is damaged, too large or of another format: the rest is still read."""
        try:
            return decode.decode(self._archive.picture(part))
        except RunnerError:
            return None


def without(blocks: Iterable[str]) -> list[str]:
    """Return the blocks without placeholders of pictures."""
    return [text for block in blocks if (text := IN_ROW.sub("", block))]


def _filled(blocks: Iterable[str], texts: list[str]) -> list[str]:
    def fill(placeholder: re.Match[str]) -> str:
        (number,) = MARK.findall(placeholder[0])
        return MARK.sub(lambda _: texts[int(number)], placeholder[0]) if texts[int(number)] else ""

    return [text for block in blocks if (text := IN_ROW.sub(fill, block))]


def _is_prose(text: str) -> bool:
    letters, signs = sum(map(str.isalpha, text)), sum(not letter.isspace() for letter in text)
    return letters >= max(LETTERS, LETTERS_SHARE * signs)
