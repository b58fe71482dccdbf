"""Compares a PDF's page with its picture, and converts between their coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import numpy as np
from PIL import Image

from runners.documents.pdf import trust
from runners.documents.pdf.layer import Piece
from runners.documents.pdf.letters import Box
from runners.documents.pdf.survey import Survey
from runners.documents.scans import layout
from runners.documents.scans.pages import PageReader

REDUCTION: Final = 2
"""Factor by which a page's picture is reduced before edges are detected."""
MAX_CHECKED_LINES: Final = 20
"""Lines of hidden text whose places are checked for ink."""
MIN_EDGE: Final = 40
"""Difference in grey, of 255, between neighbouring pixels that is an edge."""
MIN_EDGE_SHARE: Final = 0.001
"""Share of pixels with an edge from which there may be letters: a line across a page has twice as many."""
SAME_LINE_OVERLAP: Final = 0.5
"""Share of a line's area from which an overlapping line is another reading of it."""
MIN_EXTRA_WORDS: Final = 12
"""Words from which a picture beside text holds text; a chart has fewer, or shorter lines."""
MIN_EXTRA_LINE: Final = 10
"""Characters that the median line of such a picture must have."""
MIN_EXTRA_SIGNS: Final = 4
"""Characters that it must have in Chinese and Japanese."""


def block(reader: PageReader, page: Survey, image: Image.Image, box: Box) -> list[Piece]:
    """Read a picture that stands beside text; empty for a chart or a photo."""
    scale = image.height / page.height
    left, top, right, bottom = (round(side) for side in _pixels(page, image, box))
    read = reader.lines(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
    if not _is_text(read):
        return []
    rows = (row for paragraph in layout.paragraphs(read) for row in paragraph)
    return [_piece(_moved(line, left, top), page, scale) for row in rows for line in row]


def _is_text(read: Sequence[layout.TextLine]) -> bool:
    text = " ".join(line.text for line in read)
    signs = len(trust.SIGN.findall(text))
    if len(trust.WORD.findall(text)) + signs < MIN_EXTRA_WORDS:
        return False
    return median(len(line.text) for line in read) >= (MIN_EXTRA_SIGNS if signs else MIN_EXTRA_LINE)


def _pixels(page: Survey, image: Image.Image, box: Box) -> Box:
    """Return left, top, right and bottom in pixels of the page's picture."""
    scale = image.height / page.height
    left, bottom, right, top = box
    return left * scale, (page.height - top) * scale, right * scale, (page.height - bottom) * scale


def strip(page: Survey, image: Image.Image, piece: Piece) -> Image.Image:
    """Crop the piece's place from the picture, with a margin."""
    left, top, right, bottom = _pixels(page, image, piece.box)
    room = 0.25 * (bottom - top if not piece.turns % 2 else right - left)
    box = max(left - room, 0), max(top - room, 0), min(right + room, image.width), min(bottom + room, image.height)
    left, top, right, bottom = (round(side) for side in box)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def shows_nothing(page: Survey, image: Image.Image, hidden: Sequence[Piece]) -> bool:
    """Whether the picture is blank where hidden text stands."""
    return all(strip(page, image, piece).getcolors(1) is not None for piece in hidden[:MAX_CHECKED_LINES])


def shows_more(page: Survey, image: Image.Image, box: Box, pieces: Sequence[Piece]) -> bool:
    """Whether the picture has edges beside the pieces, as letters do; a background has none."""
    small = np.asarray(image.convert("L").reduce(REDUCTION), dtype=np.int16)
    edges = abs(np.diff(small, axis=1)) > MIN_EDGE
    scale = image.height / page.height / REDUCTION
    inside = np.zeros_like(edges)
    inside[_slices(page, box, scale)] = True
    for piece in pieces:
        room = 0.5 * piece.size
        around = piece.left - room, piece.bottom - room, piece.right + room, piece.top + room
        inside[_slices(page, around, scale)] = False
    return bool(edges[inside].mean() >= MIN_EDGE_SHARE) if inside.any() else False


def _slices(page: Survey, box: Box, scale: float) -> tuple[slice, slice]:
    left, bottom, right, top = (max(side, 0.0) * scale for side in box)
    height = page.height * scale
    return slice(max(round(height - top), 0), max(round(height - bottom), 0)), slice(round(left), round(right))


def flat(page: Survey, image: Image.Image, piece: Piece) -> layout.TextLine:
    """Return the piece as a line in the picture's coordinates."""
    return layout.TextLine(piece.text, *_pixels(page, image, piece.box))


def together(read: Sequence[layout.TextLine], trusted: Sequence[layout.TextLine]) -> list[layout.TextLine]:
    """Merge OCR lines with trusted ones, each line once: OCR wins where the layer has only a part of a line."""
    ocr_lines = [
        line for line in read if sum(_overlap(line, other) for other in trusted) < SAME_LINE_OVERLAP * _area(line)
    ]
    return [
        *ocr_lines,
        *(
            line
            for line in trusted
            if all(_overlap(line, other) < SAME_LINE_OVERLAP * _area(line) for other in ocr_lines)
        ),
    ]


def _overlap(line: layout.TextLine, other: layout.TextLine) -> float:
    across = min(line.right, other.right) - max(line.left, other.left)
    along = min(line.bottom, other.bottom) - max(line.top, other.top)
    return max(across, 0.0) * max(along, 0.0)


def _area(line: layout.TextLine) -> float:
    return max((line.right - line.left) * line.height, 1.0)


def _moved(line: layout.TextLine, left: float, top: float) -> layout.TextLine:
    return layout.TextLine(line.text, line.left + left, line.top + top, line.right + left, line.bottom + top)


def _piece(line: layout.TextLine, page: Survey, scale: float) -> Piece:
    top, bottom = (page.height - side / scale for side in (line.top, line.bottom))
    return Piece(line.text, line.left / scale, line.right / scale, bottom, top, 0, -1, -1, 0)
