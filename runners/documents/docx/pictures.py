"""Pictures in a Word document: the large ones are read as pages are, and their text stands where they do."""

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
"""Square centimetres from which a picture beside text may be a scan: below are logos, icons and signatures."""
PIXELS: Final = 3_500.0
"""Pixels of a square centimetre (150 dots an inch), for a picture whose size on paper is not known."""
LETTERS: Final = 20
"""Fewest letters that are taken from a picture beside text: a photo has a few on a sign."""
LETTERS_SHARE: Final = 0.6
"""Smallest share of letters in such a text: a diagram has numbers along its axes."""

MARK: Final = re.compile("\x1e([0-9]{1,4})\x1e")
"""What stands for a picture until it is read: XML cannot have this character."""
IN_ROW: Final = re.compile(" \\| \x1e[0-9]{1,4}\x1e|\x1e[0-9]{1,4}\x1e(?: \\| )?")


class EmbeddedPictures:
    """The pictures of one document, each once, in their order."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._areas: dict[str, float] = {}

    def mark(self, part: str, area: float) -> str:
        """What stands for a picture of so many square centimetres; nothing if it has been here before."""
        if part in self._areas or part not in self._archive or len(self._areas) > MAX_PAGES:
            return ""
        self._areas[part] = area
        return f"\x1e{len(self._areas) - 1}\x1e"

    def read_into(self, blocks: list[str], pages: PageReader) -> list[str]:
        """The blocks with text in the places of pictures. Raises PayloadTooLarge, and what ``pages`` raises."""
        is_beside_text = any(map(str.strip, without(blocks)))
        if is_beside_text and isinstance(pages, AsPictures):  # an engine that is given pictures looks at nothing else
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
        """None for what is no picture, or one that is damaged or too large: the rest of the document is read."""
        try:
            return decode.decode(self._archive.picture(part))
        except RunnerError:
            return None


def without(blocks: Iterable[str]) -> list[str]:
    """The blocks without marks of pictures."""
    return [text for block in blocks if (text := IN_ROW.sub("", block))]


def _filled(blocks: Iterable[str], texts: list[str]) -> list[str]:
    def fill(found: re.Match[str]) -> str:
        (number,) = MARK.findall(found[0])
        return MARK.sub(lambda _: texts[int(number)], found[0]) if texts[int(number)] else ""

    return [text for block in blocks if (text := IN_ROW.sub(fill, block))]


def _is_prose(text: str) -> bool:
    letters, signs = sum(map(str.isalpha, text)), sum(not letter.isspace() for letter in text)
    return letters >= max(LETTERS, LETTERS_SHARE * signs)
