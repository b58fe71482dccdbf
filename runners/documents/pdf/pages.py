"""A PDF's pages to text: the text layer where it can be trusted, and OCR of the page where it cannot.

A layer is trusted where it reads like a language, or where OCR reads the same in the place of some of its lines.
Pictures that no such text covers are read by OCR, and both are put in one order.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import pypdfium2
from PIL import Image

from runners.documents.pdf import forms, layer, order, pictures, reading, trust
from runners.documents.pdf.layer import Piece
from runners.documents.pdf.letters import Box
from runners.documents.pdf.lines import PdfLine
from runners.documents.pdf.survey import TEMPLATE_PAGES, Survey
from runners.documents.scans import layout
from runners.documents.scans.pages import AsPictures, PageReader

MAX_GARBAGE_SHARE: Final = 0.3
"""Share of meaningless characters above which a text is garbled; they come from fonts without a Unicode table."""
MAX_GARBAGE_CHARACTERS: Final = 40
"""Meaningless characters above which a page is checked by OCR; symbols cause some of them."""
STRIPS: Final = 2
"""Lines of a page, or of one font on it, that are compared with OCR."""
MAX_STRIPS: Final = 100
"""Lines of a document that may be compared and found right: each costs some tenths of a second."""
CONFIRMING_PAGES: Final = 2
"""Pages on which OCR must confirm a font before it is trusted on all pages."""
STRIP_LETTERS: Final = 80
"""Letters of a line beyond which its length does not count when lines are picked for comparison."""
MAX_EXTRA_PICTURES: Final = 20
"""Pictures of a document that are read in addition to the pages' own text."""
MIN_OCR_SHARE: Final = 0.4
"""Share of a layer's letters that OCR must read to be better than it."""
COMPARED_INTERVAL: Final = 5
"""Interval of pages whose hidden text is still compared once OCR has confirmed it."""
HIDDEN, GARBLED = "hidden text", "garbled text"
"""Keys in place of a font's name; no font's name has a space."""


class Pages:
    """Reads the pages of one document."""

    def __init__(self, pdf: pypdfium2.PdfDocument, reader: PageReader, surveys: Sequence[Survey]) -> None:
        self._pdf, self._reader, self._surveys = pdf, reader, surveys
        self._has_ocr = not isinstance(reader, AsPictures)
        self._proven: Counter[str] = Counter()
        """Pages on which OCR confirmed a font; for hidden text, since the last page on which it did not."""
        self._strips, self._extras = MAX_STRIPS, MAX_EXTRA_PICTURES
        self._samples = _samples(surveys)
        self._stamps = _stamps(surveys)
        self._drawing: tuple[int, Image.Image] | None = None

    def texts(self) -> Iterator[list[PdfLine] | str]:
        """Yield each page's lines, or its OCR text. Raises what the reader raises."""
        for page in self._surveys:
            yield [] if page.is_blank else self._text(page)

    def as_pictures(self) -> bool:
        """Keep all pages as pictures if one of them needs it, and return whether they are kept."""
        if not any(map(self._is_picture, self._surveys)):
            return False
        for page in self._surveys:
            self._reader.read(self._drawn(page))
        return True

    def _is_picture(self, page: Survey) -> bool:
        if page.is_blank:
            return False
        doubted = self._doubted(page)
        text = [piece for piece in page.visible if piece not in doubted]
        text += page.hidden if not trust.is_strange(_all(page.hidden)) else []
        is_bare = not _letters(text) and not page.values
        return is_bare or page.is_most(self._bare(page, text)) or page.outlines is not None

    def _text(self, page: Survey) -> list[PdfLine] | str:
        trusted, doubted = self._judged(page)
        bare = self._bare(page, trusted)
        if not self._has_ocr:
            return _lines(page, trusted)
        if doubted or page.outlines or page.is_most(bare) or not (_letters(trusted) or page.values):
            return self._whole(page, trusted, doubted) or _lines(page, _in_order([*trusted, *doubted]))
        return _lines(page, trusted, self._blocks(page, bare))

    def _judged(self, page: Survey) -> tuple[list[Piece], list[Piece]]:
        """Return trusted pieces and doubted pieces."""
        wrong = set(self._wrong(page))
        trusted = [piece for piece in page.visible if piece not in wrong]
        if page.hidden and self._is_trusted(page):
            trusted += page.hidden
        elif page.hidden and not reading.shows_nothing(page, self._drawn(page), page.hidden):
            wrong.update(page.hidden)
        return _in_order(trusted), _in_order(wrong)

    def _wrong(self, page: Survey) -> list[Piece]:
        """Return visible pieces whose text is not what the page shows."""
        by_font: dict[str, list[Piece]] = defaultdict(list)
        for piece, font in self._doubted(page).items():
            by_font[GARBLED if _garbage([piece]) > MAX_GARBAGE_SHARE else font].append(piece)
        wrong: list[Piece] = []
        for font, pieces in by_font.items():
            if font == GARBLED or not self._agrees(page, pieces):
                wrong += pieces
            else:
                self._proven[font] += 1
        return wrong

    def _doubted(self, page: Survey) -> dict[Piece, str]:
        """Return visible pieces, with their fonts, that do not read like a language and are not confirmed by OCR."""
        texts: dict[str, list[str]] = defaultdict(list)
        for piece, font in zip(page.visible, page.fonts, strict=True):
            texts[font].append(piece.text)
        doubtful = {font for font, lines in texts.items() if self._is_doubtful(font, " ".join(lines))}
        is_garbled = (
            _garbage(page.visible) > MAX_GARBAGE_SHARE
            or sum(piece.garbage for piece in page.visible) > MAX_GARBAGE_CHARACTERS
        )
        return {
            piece: font
            for piece, font in zip(page.visible, page.fonts, strict=True)
            if font in doubtful or (is_garbled and _garbage([piece]) > MAX_GARBAGE_SHARE)
        }

    def _is_doubtful(self, font: str, text: str) -> bool:
        if self._proven[font] >= CONFIRMING_PAGES:
            return False
        is_strange = trust.is_strange(text)
        return is_strange or (is_strange is None and trust.is_strange(self._samples[font]) is True)

    def _is_trusted(self, page: Survey) -> bool:
        """Whether the hidden text is what the page shows; once confirmed, only some pages are compared."""
        is_likely = self._proven[HIDDEN] >= CONFIRMING_PAGES and not trust.is_strange(_all(page.hidden))
        if is_likely and page.number % COMPARED_INTERVAL:
            return True
        agrees = not reading.shows_nothing(page, self._drawn(page), page.hidden) and self._agrees(page, page.hidden)
        self._proven[HIDDEN] = self._proven[HIDDEN] + 1 if agrees else 0
        return agrees

    def _agrees(self, page: Survey, pieces: Sequence[Piece]) -> bool:
        """Whether OCR reads the same as some of the longest pieces; where it reads nothing, their language decides."""
        if not self._has_ocr:
            return trust.is_strange(_all(pieces)) is not True
        longest = sorted(pieces, key=lambda piece: (-min(len(piece.text), STRIP_LETTERS), piece.start))
        compared = longest[: min(STRIPS, self._strips)]
        read = [self._reader.read(reading.strip(page, self._drawn(page), piece)) for piece in compared]
        if any(read):
            agrees = trust.are_alike([(piece.text, text) for piece, text in zip(compared, read, strict=True)])
        else:
            agrees = not compared or trust.is_strange(_all(pieces)) is not True
        self._strips -= len(compared) if agrees else 0
        return agrees

    def _bare(self, page: Survey, text: Sequence[Piece]) -> list[Box]:
        """Return the regions in which pictures show more than the text."""
        regions = page.bare(text)
        if not regions or not text:
            return regions
        image = self._drawn(page)
        return [box for box in regions if reading.shows_more(page, image, box, text)]

    def _whole(self, page: Survey, trusted: Sequence[Piece], doubted: Sequence[Piece]) -> str:
        """Return the page's OCR text merged with its trusted text; empty where the layer is better."""
        image = self._drawn(page)
        trusted_pieces = [piece for piece in _filled(page, trusted) if piece.text and _mark(piece) not in self._stamps]
        if not trusted_pieces and not doubted:
            return self._reader.read(image)
        read = self._reader.lines(image)
        if not read or (doubted and not _is_better(" ".join(line.text for line in read), doubted)):
            return ""
        return layout.text(reading.together(read, [reading.flat(page, image, piece) for piece in trusted_pieces]))

    def _blocks(self, page: Survey, boxes: Sequence[Box]) -> list[list[Piece]]:
        """Return the text of some of the pictures."""
        read = boxes[: max(self._extras, 0)]
        self._extras -= len(read)
        blocks = (reading.block(self._reader, page, self._drawn(page), box) for box in read)
        return [pieces for pieces in blocks if pieces]

    def _drawn(self, page: Survey) -> Image.Image:
        """Return the page's picture; the last one is cached."""
        if self._drawing is None or self._drawing[0] != page.number:
            opened = self._pdf[page.number]
            try:
                self._drawing = page.number, pictures.drawn(opened)
            finally:
                opened.close()
        return self._drawing[1]


def _lines(page: Survey, pieces: Sequence[Piece], blocks: Sequence[list[Piece]] = ()) -> list[PdfLine]:
    return order.lines(layer.upright(forms.set_in(_filled(page, pieces), blocks)))


def _filled(page: Survey, pieces: Sequence[Piece]) -> list[Piece]:
    return forms.filled(pieces, page.values)


def _samples(surveys: Sequence[Survey]) -> dict[str, str]:
    """Return a sample of each font's text."""
    samples: dict[str, str] = defaultdict(str)
    for page in surveys:
        for piece, font in zip(page.visible, page.fonts, strict=True):
            if len(samples[font]) < 2_000:
                samples[font] += " " + piece.text
    return samples


def _stamps(surveys: Sequence[Survey]) -> set[str]:
    """Return lines that repeat on several pages of a document."""
    counts = Counter(mark for page in surveys for mark in {_mark(piece) for piece in page.visible})
    return {mark for mark, count in counts.items() if count >= max(TEMPLATE_PAGES, len(surveys) / 2)}


def _mark(piece: Piece) -> str:
    return re.sub(r"\d+", "#", piece.text)


def _in_order(pieces: Iterable[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda piece: piece.start)


def _all(pieces: Sequence[Piece]) -> str:
    return " ".join(piece.text for piece in pieces)


def _letters(pieces: Sequence[Piece]) -> int:
    return sum(map(str.isalnum, _all(pieces)))


def _garbage(pieces: Sequence[Piece]) -> float:
    """Return the share of meaningless characters."""
    garbage = sum(piece.garbage for piece in pieces)
    return garbage / max(garbage + sum(len(piece.text) for piece in pieces), 1)


def _is_better(read: str, doubted: Sequence[Piece]) -> bool:
    """Whether the OCR text is better than the layer that disagrees with it."""
    letters = sum(map(str.isalnum, read))
    if _garbage(doubted) > MAX_GARBAGE_SHARE:
        return letters > 0
    return trust.is_language(read) is not False and letters >= MIN_OCR_SHARE * _letters(doubted)
