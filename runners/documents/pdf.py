"""PDFs: a page's own text where it has some, and what is read off its picture where it has none.

PDFium is in C++ and for one thread alone; it may hang or fall on a hostile file, and is called in a process of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from runners.documents import budget, pdf_forms, pdf_layer, pdf_lines, pdf_order
from runners.documents.document import MAX_CHARACTERS, MAX_PAGES, TOO_LONG, TOO_MANY_PAGES, Document
from runners.documents.kinds import EMPTY, LOCKED
from runners.documents.markup import MAX_TITLE, spaced
from runners.documents.pages import AsPictures, PageReader
from runners.documents.pdf_layer import Layer
from runners.documents.pdf_lines import Line
from runners.documents.plain import clean
from runners.errors import InvalidDocument, PayloadTooLarge

PIXELS_PER_POINT: Final = 200 / 72
MAX_PIXELS: Final = 4_000_000
"""Most pixels of a page's picture: A4 and letter have 3.9 and 3.7 million at 200 dots an inch."""
MAX_SIDE: Final = 10_000

FEW_LETTERS: Final = 50
"""A page that is covered by a picture and has fewer letters than this is a scan with a stamp on it."""
MAX_GARBAGE: Final = 0.3
"""The share of a text that a font without a table of its letters makes of it."""
GARBAGE: Final = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f\x7f-\x9f]")
MAX_PICTURES: Final = 500

DAMAGED: Final = "the PDF is damaged, or ends too early"
XFA: Final = (
    "the PDF is an XFA form, which only Adobe's programs show: save or print it as an ordinary PDF, and send that one"
)
NO_TITLE: Final = re.compile(r"untitled|document\d*|.{0,200}\.(?:docx?|pdf|tex|dvi|indd|qxd|html?|pptx?|rtf|odt)", re.I)


def read(data: bytes, pages: PageReader) -> Document:
    """The text is empty where there is none, and where ``pages`` are kept as pictures: then it is all of them or none.

    Raises InvalidDocument, PayloadTooLarge, and what ``pages`` raises.
    """
    try:
        with _opened(data) as pdf:
            if pdf_forms.has_fields(pdf):
                pdf.init_forms()
            return Document(_text(pdf, pages), len(pdf), _title(pdf))
    except pypdfium2.PdfiumError as error:
        locked = error.err_code == raw.FPDF_ERR_PASSWORD
    raise InvalidDocument(LOCKED if locked else DAMAGED)


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    """The number of pages is judged before any of them is loaded."""
    pdf = pypdfium2.PdfDocument(data)
    if not 0 < len(pdf) <= MAX_PAGES:
        number = len(pdf)
        pdf.close()
        raise PayloadTooLarge(TOO_MANY_PAGES) if number > 0 else InvalidDocument(DAMAGED)
    return pdf


def _text(pdf: pypdfium2.PdfDocument, pages: PageReader) -> str:
    found = _pages(pdf)
    if pdf_forms.is_shell(pdf, sum(len(line.text) for page in found for line in page.lines)):
        raise InvalidDocument(XFA)
    if all(page.is_blank for page in found):
        raise InvalidDocument(EMPTY)
    if isinstance(pages, AsPictures) and any(page.is_scan for page in found):
        # An engine that is given pictures looks at nothing else.
        found = [page._replace(lines=[], is_scan=True) for page in found]
    return pdf_lines.joined(list(_texts(pdf, found, pages)))


class _Page(NamedTuple):
    """What a page holds before any picture is made of it."""

    lines: list[Line]
    is_blank: bool
    is_scan: bool


def _pages(pdf: pypdfium2.PdfDocument) -> list[_Page]:
    """Raises PayloadTooLarge."""
    found: list[_Page] = []
    length = 0
    for page in _opened_pages(pdf):
        found.append(_page(page))
        length += sum(len(line.text) for line in found[-1].lines)
        if length > MAX_CHARACTERS:
            raise PayloadTooLarge(TOO_LONG)
    return found


def _page(page: pypdfium2.PdfPage) -> _Page:
    lines = _lines(page)
    is_blank = _is_blank(page, lines)
    return _Page(lines, is_blank, not is_blank and _is_scan(page, lines))


def _texts(pdf: pypdfium2.PdfDocument, found: Sequence[_Page], pages: PageReader) -> Iterator[list[Line] | str]:
    """Of each page its lines, or what is read off it where that is more."""
    for number, page in enumerate(found):
        yield page.lines if not page.is_scan else pages.read(_picture_of(pdf, number)) or page.lines


def _opened_pages(pdf: pypdfium2.PdfDocument) -> Iterator[pypdfium2.PdfPage]:
    for number in range(len(pdf)):
        page = pdf[number]
        try:
            yield page
        finally:
            page.close()
            budget.page()


def _lines(page: pypdfium2.PdfPage) -> list[Line]:
    """The text layer in reading order."""
    with Layer(page) as layer:
        pieces = layer.pieces()
    return pdf_order.lines(pdf_layer.upright(pdf_forms.filled(pieces, pdf_forms.values(page))))


def _is_blank(page: pypdfium2.PdfPage, lines: list[Line]) -> bool:
    """Whether nothing is on it, or no more than the space that Word writes on an empty page."""
    if not raw.FPDFPage_CountObjects(page) and not raw.FPDFPage_GetAnnotCount(page):
        return True
    return not lines and not _has_images(page) and _is_of_one_colour(_picture(page))


def _has_images(page: pypdfium2.PdfPage) -> bool:
    return any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2))


def _is_of_one_colour(image: Image.Image) -> bool:
    return image.getcolors(1) is not None


def _is_scan(page: pypdfium2.PdfPage, lines: list[Line]) -> bool:
    """Whether the page says more as a picture than its text layer does."""
    text = "".join(line.text for line in lines)
    letters = sum(map(str.isalnum, text))
    if not letters or len(GARBAGE.findall(text)) > MAX_GARBAGE * len(text):
        return True
    return letters < FEW_LETTERS and _covered(page) > 0.5


def _covered(page: pypdfium2.PdfPage) -> float:
    """The share of the page that its largest picture covers."""
    width, height = page.get_size()
    found = page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2)
    boxes = (picture.get_bounds() for picture, _ in zip(found, range(MAX_PICTURES), strict=False))
    areas = ((right - left) * (top - bottom) for left, bottom, right, top in boxes)
    largest: float = max(areas, default=0.0)
    return largest / float(max(width * height, 1.0))


def _picture(page: pypdfium2.PdfPage) -> Image.Image:
    bitmap = page.render(scale=_scale(*page.get_size()), may_draw_forms=False)
    try:
        image: Image.Image = bitmap.to_pil().convert("RGB").copy()
    finally:
        bitmap.close()
    return image


def _picture_of(pdf: pypdfium2.PdfDocument, number: int) -> Image.Image:
    page = pdf[number]
    try:
        return _picture(page)
    finally:
        page.close()


def _scale(width: float, height: float) -> float:
    """Pixels a point. Raises InvalidDocument for a page without an area."""
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise InvalidDocument(DAMAGED)
    return min(PIXELS_PER_POINT, math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))


def _title(pdf: pypdfium2.PdfDocument) -> str | None:
    """None where a program named the document for itself or for its file."""
    try:
        title = spaced(clean(pdf.get_metadata_value("Title"))).removeprefix("Microsoft Word - ")
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return None
    is_title = 1 < len(title) <= MAX_TITLE and any(map(str.isalpha, title)) and not NO_TITLE.fullmatch(title)
    return title if is_title else None
