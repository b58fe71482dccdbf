"""The text layer of a PDF's page as pieces: words in a row without a wide gap, with their positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import addressof, byref, c_int, create_string_buffer
from typing import Final, NamedTuple

import pypdfium2
from pypdfium2 import raw

from runners.documents.document import TOO_LONG
from runners.documents.html.html import spaced
from runners.documents.pdf import letters, lines
from runners.documents.pdf.letters import Box
from runners.documents.text.plain import clean
from runners.errors import PayloadTooLarge
from runners.limits import MAX_CHARACTERS

WIDE: Final = 0.7
"""Share of a line's height from which the white between two words may separate columns or cells."""
MAX_FONT_NAME: Final = 200
BLANK: Final = [0x5F] * 3
"""Character codes at the end of a rule that is left blank for handwriting."""
UNSEEN: Final = frozenset({raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP})
SPACES: Final = frozenset({0x20, 0xA0, 0x3000})

Frame = tuple[int, float, float, float, float]
"""Quarter turns, clockwise, by which a page is shown, and its box: left, bottom, right and top."""


class Piece(NamedTuple):
    """Text in one row; its box is in points from the lower left corner of the page as shown."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    turns: int
    """Quarter turns, counter-clockwise, of its letters on the page."""
    row: int
    """Number of its line in the text layer; -1 for text that is not from the layer."""
    start: int
    """Index of its first character in the text layer."""
    garbage: int
    """Number of its meaningless characters, which come from a font without a Unicode table."""

    @property
    def size(self) -> float:
        """Height of the line, from the font's ascent to its descent."""
        return self.top - self.bottom

    @property
    def box(self) -> Box:
        """Left, bottom, right and top."""
        return self.left, self.bottom, self.right, self.top

    @property
    def middle(self) -> float:
        """Vertical centre on the page."""
        return (self.top + self.bottom) / 2


class Layer:
    """An open text layer; close it before its page."""

    def __init__(self, page: pypdfium2.PdfPage) -> None:
        self._frame = frame_of(page)
        self._layer = page.get_textpage()

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *_: object) -> None:
        self._layer.close()

    def pieces(self) -> list[Piece]:
        """Return the pieces in PDFium's order, which is that of drawing. Raises PayloadTooLarge."""
        count = self._layer.count_chars()
        if count > 2 * MAX_CHARACTERS:
            raise PayloadTooLarge(TOO_LONG)
        unicode_of, layer = raw.FPDFText_GetUnicode, self._layer.raw
        codes = [unicode_of(layer, index) for index in range(count)]
        for index in [index for index, code in enumerate(codes) if code == lines.HYPHEN]:
            if raw.FPDFText_IsHyphen(layer, index) != 1:
                codes[index] = letters.UNKNOWN
        letters.mend(codes, self._tight, is_sideways=bool(self._frame[0] % 2))
        pieces = (
            self._piece(codes, row, *span)
            for row, (start, end) in enumerate(lines.spans(codes))
            for span in self._parted(codes, start, end)
        )
        return [piece for piece in pieces if piece]

    def font(self, piece: Piece) -> str:
        """Return the name of the font of the piece's first letter."""
        name = create_string_buffer(MAX_FONT_NAME)
        raw.FPDFText_GetFontInfo(self._layer.raw, piece.start, name, MAX_FONT_NAME, byref(c_int()))
        return name.value.decode("utf-8", "replace")

    def is_drawn(self, piece: Piece) -> bool:
        """Whether its first letter is drawn, not only there for searching."""
        handle = raw.FPDFText_GetTextObject(self._layer.raw, piece.start)
        return not handle or raw.FPDFTextObj_GetTextRenderMode(handle) not in UNSEEN

    def drawing(self, piece: Piece) -> int:
        """Return the address of the object that draws its first letter."""
        return addressof(raw.FPDFText_GetTextObject(self._layer.raw, piece.start).contents)

    def _box(self, index: int) -> Box:
        """Return a letter's box, from the font's descent to its ascent, in the page's own coordinates."""
        box = raw.FS_RECTF()
        raw.FPDFText_GetLooseCharBox(self._layer.raw, index, byref(box))
        return _sides(box)

    def _tight(self, index: int) -> Box:
        """Return the box of a letter's ink."""
        left, bottom, right, top = self._layer.get_charbox(index)
        return left, bottom, right, top

    def _parted(self, codes: Sequence[int], start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of each part of a line between wide gaps."""
        words = _words(codes, start, end)
        if not words:
            return
        begin, last = words[0][0], words[0][1]
        for first, after in words[1:]:
            if _are_apart(self._box(last - 1), self._box(first)) or codes[last - 3 : last] == BLANK:
                yield begin, last
                begin = first
            last = after
        yield begin, last

    def _piece(self, codes: Sequence[int], row: int, start: int, end: int) -> Piece | None:
        text = spaced(clean(lines.text_of(codes[start:end])))
        garbage = len(letters.GARBAGE.findall("".join(map(letters.character, codes[start:end]))))
        if not text and not garbage:
            return None
        last = end - 1 if codes[end - 1] != lines.HYPHEN else max(start, end - 2)
        first_box, last_box = (turned(self._box(index), self._frame) for index in (start, last))
        left, bottom = min(first_box[0], last_box[0]), min(first_box[1], last_box[1])
        right, top = max(first_box[2], last_box[2]), max(first_box[3], last_box[3])
        turns = _turns(first_box, last_box)
        if turns % 2 == 0:
            bottom, top = first_box[1], first_box[3]  # a superscript at the end does not make the line higher
        return Piece(text, left, right, bottom, top, turns, row, start, garbage)


def _words(codes: Sequence[int], start: int, end: int) -> list[tuple[int, int]]:
    words: list[tuple[int, int]] = []
    begin = None
    for index in range(start, end):
        if codes[index] in SPACES:
            if begin is not None:
                words.append((begin, index))
            begin = None
        elif begin is None:
            begin = index
    if begin is not None:
        words.append((begin, end))
    return words


def _are_apart(box: Box, other: Box) -> bool:
    """Whether there is wide white between two letters of one line, horizontal or vertical."""
    across = max(box[0] - other[2], other[0] - box[2])
    along = max(box[1] - other[3], other[1] - box[3])
    return max(across, along) > WIDE * max(box[2] - box[0], box[3] - box[1])


def frame_of(page: pypdfium2.PdfPage) -> Frame:
    """Return the rotation and the box of a page."""
    return (page.get_rotation() // 90, *page.get_bbox())


def shown(rect: raw.FS_RECTF, frame: Frame) -> Box:
    """Convert a rectangle from the page's own coordinates to the page as shown."""
    return turned(_sides(rect), frame)


def _sides(rect: raw.FS_RECTF) -> Box:
    left, right = (rect.left, rect.right) if rect.left <= rect.right else (rect.right, rect.left)
    bottom, top = (rect.bottom, rect.top) if rect.bottom <= rect.top else (rect.top, rect.bottom)
    return left, bottom, right, top


def turned(box: Box, frame: Frame) -> Box:
    """Convert a box from the page's own coordinates to the page as shown."""
    turns, page_left, page_bottom, page_right, page_top = frame
    left, bottom, right, top = box
    if turns == 1:
        return bottom - page_bottom, page_right - right, top - page_bottom, page_right - left
    if turns == 2:
        return page_right - right, page_top - top, page_right - left, page_top - bottom
    if turns == 3:
        return page_top - top, left - page_left, page_top - bottom, right - page_left
    return left - page_left, bottom - page_bottom, right - page_left, top - page_bottom


def _turns(first: Box, last: Box) -> int:
    """Return the quarter turns of a line from the boxes of its first and last letters; 0 for one letter."""
    across = (last[0] + last[2] - first[0] - first[2]) / 2
    along = (last[1] + last[3] - first[1] - first[3]) / 2
    if abs(along) <= abs(across) or abs(along) < (first[3] - first[1]) / 2:
        return 0
    return 1 if along > 0 else 3


def upright(pieces: Sequence[Piece]) -> list[Piece]:
    """Turn the page until most letters are upright; pieces that still are not come last, in order."""
    weights = [sum(len(piece.text) for piece in pieces if piece.turns == turns) for turns in range(4)]
    usual_turns = weights.index(max(weights))
    turned = [_at_turn(piece, usual_turns) for piece in pieces]
    return sorted(turned, key=lambda piece: piece.turns != 0)


def _at_turn(piece: Piece, turns: int) -> Piece:
    """Return the piece's position after the page is turned clockwise by quarter ``turns``."""
    left, bottom, right, top = piece.left, piece.bottom, piece.right, piece.top
    if turns == 1:
        left, bottom, right, top = bottom, -right, top, -left
    elif turns == 3:
        left, bottom, right, top = -top, left, -bottom, right
    return piece._replace(left=left, bottom=bottom, right=right, top=top, turns=(piece.turns - turns) % 4)
