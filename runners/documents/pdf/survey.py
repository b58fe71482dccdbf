"""A PDF page's contents, as far as they can be told without OCR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pypdfium2
from PIL import Image
from pypdfium2 import raw

from runners.documents.pdf import forms
from runners.documents.pdf import pictures as pdf_pictures
from runners.documents.pdf.layer import Layer, Piece
from runners.documents.pdf.letters import Box

LARGE_PICTURE_SHARE: Final = 0.1
"""Share of a page from which a picture may hold text."""
PAGE_PICTURES_SHARE: Final = 0.5
"""Share of a page from which its pictures are the page."""
BARE_SHARE: Final = 0.4
"""Share of a picture's height without text over it from which it is examined."""
CROSSED_SHARE: Final = 0.2
"""Share of a picture's width that text must cross for a band to count as covered."""
BANDS: Final = 60
"""Horizontal bands that a picture is divided into."""
COVERED_SHARE: Final = 0.8
"""Share of a line from which a picture drawn later hides it."""
TEMPLATE_PAGES: Final = 3
"""Pages with the same picture in the same place from which it is a background."""
STAMP_LETTERS: Final = 50
"""Letters below which a page's text is only a stamp, whatever its picture."""
MAX_COMPARED_PICTURES: Final = 5
"""Pictures of a page that are compared with those of other pages."""
OUTLINED_LETTERS: Final = 200
"""Letters of a page below which it is searched for letters drawn as paths."""


@dataclass
class Survey:
    """One page; boxes and pieces are in points from the lower left corner of the page as shown."""

    number: int
    width: float
    height: float
    visible: list[Piece]
    hidden: list[Piece]
    """Text that can be searched and copied but is not visible: mostly earlier OCR."""
    values: list[list[Piece]]
    fonts: list[str]
    """Font of each visible piece."""
    pictures: list[Box] = field(default_factory=list)
    prints: list[tuple[int, ...]] = field(default_factory=list)
    """Fingerprints of the first large pictures."""
    outlines: Box | None = None
    is_blank: bool = False

    @property
    def area(self) -> float:
        """Area of the page in square points."""
        return max(self.width * self.height, 1.0)

    def bare(self, text: Sequence[Piece]) -> list[Box]:
        """Return large regions of pictures that the text does not cover."""
        regions = pdf_pictures.regions(self.pictures)
        return [box for box in regions if self._share(box) >= LARGE_PICTURE_SHARE and self._is_bare(box, text)]

    def is_most(self, boxes: Iterable[Box]) -> bool:
        """Whether the boxes cover most of the page."""
        return sum(map(self._share, boxes)) >= PAGE_PICTURES_SHARE

    def _share(self, box: Box) -> float:
        return pdf_pictures.area(box) / self.area

    def _is_bare(self, box: Box, text: Sequence[Piece]) -> bool:
        return _uncovered(box, text) >= BARE_SHARE


def survey(page: pypdfium2.PdfPage, number: int) -> Survey:
    """Survey a page. Raises PayloadTooLarge, and InvalidDocument for a page without an area."""
    pictures = pdf_pictures.placed_pictures(page)
    with Layer(page) as layer:
        pieces = layer.pieces()
        drawn = [layer.is_drawn(piece) for piece in pieces]
        visible = [piece for piece, is_seen in zip(pieces, drawn, strict=True) if is_seen]
        hidden = [piece for piece, is_seen in zip(pieces, drawn, strict=True) if not is_seen]
        if pictures:
            covered = _covered(page, layer, visible, pictures)
            visible, hidden = [piece for piece in visible if piece not in covered], [*hidden, *covered]
        fonts = [layer.font(piece) for piece in visible]
    width, height = page.get_size()
    result = Survey(number, width, height, visible, hidden, forms.values(page), fonts)
    result.pictures = [picture.box for picture in pictures]
    large = [picture for picture in pictures if pdf_pictures.area(picture.box) >= LARGE_PICTURE_SHARE * result.area]
    result.prints = [pdf_pictures.print_of(picture) for picture in large[:MAX_COMPARED_PICTURES]]
    if sum(len(piece.text) for piece in visible) < OUTLINED_LETTERS and not pictures:
        result.outlines = pdf_pictures.outlines(page)
    result.is_blank = _is_blank(page, result)
    return result


def without_templates(pages: Sequence[Survey]) -> None:
    """Remove backgrounds that several pages with text share."""
    counts = Counter(mark for page in pages for mark in set(page.prints))
    for page in pages:
        if sum(len(piece.text) for piece in page.visible) >= STAMP_LETTERS:
            shared = {mark[2:] for mark in page.prints if counts[mark] >= TEMPLATE_PAGES}
            page.pictures = [box for box in page.pictures if tuple(map(round, box)) not in shared]


def _covered(
    page: pypdfium2.PdfPage, layer: Layer, pieces: Sequence[Piece], pictures: Sequence[pdf_pictures.PlacedPicture]
) -> list[Piece]:
    """Return pieces that a picture drawn later covers."""
    large = [
        picture
        for picture in pictures
        if pdf_pictures.area(picture.box) >= LARGE_PICTURE_SHARE * np.prod(page.get_size())
    ]
    if not large or not pieces:
        return []
    orders = pdf_pictures.orders(page)
    return [piece for piece in pieces if _lies_under(piece, orders.get(layer.drawing(piece), len(orders)), large)]


def _lies_under(piece: Piece, order: int, pictures: Sequence[pdf_pictures.PlacedPicture]) -> bool:
    box = piece.left, piece.bottom, piece.right, piece.top
    enough = COVERED_SHARE * pdf_pictures.area(box)
    return any(
        order < picture.order and pdf_pictures.area(pdf_pictures.shared(box, picture.box)) >= enough
        for picture in pictures
    )


def _uncovered(box: Box, text: Sequence[Piece]) -> float:
    """Return the share of the box's height that no text crosses."""
    left, bottom, right, top = box
    edges = np.linspace(bottom, top, BANDS + 1)
    crossed = np.zeros(BANDS)
    for piece in text:
        across = min(piece.right, right) - max(piece.left, left)
        if across > 0:
            near = (edges[:-1] < piece.top + piece.size) & (edges[1:] > piece.bottom - piece.size)
            crossed[near] += across / (right - left)
    return float((crossed < CROSSED_SHARE).mean())


def _is_blank(page: pypdfium2.PdfPage, result: Survey) -> bool:
    """Whether the page is empty, or has only the space that Word writes on an empty page."""
    if not raw.FPDFPage_CountObjects(page) and not raw.FPDFPage_GetAnnotCount(page):
        return True
    if result.visible or result.hidden or result.values or result.pictures or result.outlines:
        return False
    return _is_of_one_colour(pdf_pictures.drawn(page))


def _is_of_one_colour(image: Image.Image) -> bool:
    return image.getcolors(1) is not None
