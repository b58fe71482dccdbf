"""PDFs: a page's own text where it has some, and OCR of its picture where it has none.

PDFium is C++ and single-threaded; it may hang or crash on a hostile file, so it runs in a process of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Final

import pypdfium2
from pypdfium2 import raw

from runners.documents import budget
from runners.documents.document import TOO_LONG, TOO_MANY_PAGES, Document
from runners.documents.formats import EMPTY, LOCKED
from runners.documents.html.html import MAX_TITLE, spaced
from runners.documents.pdf import forms, lines, survey
from runners.documents.pdf.pages import Pages
from runners.documents.pdf.survey import Survey
from runners.documents.scans.pages import AsPictures, PageReader
from runners.documents.text.plain import clean
from runners.errors import InvalidDocument, PayloadTooLarge
from runners.limits import MAX_CHARACTERS, MAX_PAGES

DAMAGED: Final = "the PDF is damaged, or ends too early"
XFA: Final = (
    "the PDF is an XFA form, which only Adobe's programs show: save or print it as an ordinary PDF, and send that one"
)
NO_TITLE: Final = re.compile(r"untitled|document\d*|.{0,200}\.(?:docx?|pdf|tex|dvi|indd|qxd|html?|pptx?|rtf|odt)", re.I)

logging.getLogger("pypdfium2").setLevel(logging.ERROR)  # it warns of unsupported forms, which read() reports itself


def read(data: bytes, pages: PageReader) -> Document:
    """Read a PDF; the text is empty where there is none, and where ``pages`` keeps pictures: of all pages or of none.

    Raises InvalidDocument, PayloadTooLarge, and what ``pages`` raises.
    """
    try:
        with _opened(data) as pdf:
            if forms.has_fields(pdf):
                pdf.init_forms()
            return Document(_text(pdf, pages), len(pdf), _title(pdf))
    except pypdfium2.PdfiumError as error:
        locked = error.err_code == raw.FPDF_ERR_PASSWORD
    raise InvalidDocument(LOCKED if locked else DAMAGED)


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    """Open a PDF and check its number of pages before any page is loaded."""
    pdf = pypdfium2.PdfDocument(data)
    if not 0 < len(pdf) <= MAX_PAGES:
        number = len(pdf)
        pdf.close()
        raise PayloadTooLarge(TOO_MANY_PAGES) if number > 0 else InvalidDocument(DAMAGED)
    return pdf


def _text(pdf: pypdfium2.PdfDocument, reader: PageReader) -> str:
    surveys = _surveys(pdf)
    if forms.is_shell(pdf, sum(len(piece.text) for page in surveys for piece in page.visible)):
        raise InvalidDocument(XFA)
    if all(page.is_blank for page in surveys):
        raise InvalidDocument(EMPTY)
    pages = Pages(pdf, reader, surveys)
    if isinstance(reader, AsPictures) and pages.as_pictures():
        return ""
    return lines.joined(list(pages.texts()))


def _surveys(pdf: pypdfium2.PdfDocument) -> list[Survey]:
    """Survey every page. Raises PayloadTooLarge."""
    surveys: list[Survey] = []
    length = 0
    for number, page in enumerate(_opened_pages(pdf)):
        surveys.append(survey.survey(page, number))
        length += sum(len(piece.text) for piece in (*surveys[-1].visible, *surveys[-1].hidden))
        if length > MAX_CHARACTERS:
            raise PayloadTooLarge(TOO_LONG)
    survey.without_templates(surveys)
    return surveys


def _opened_pages(pdf: pypdfium2.PdfDocument) -> Iterator[pypdfium2.PdfPage]:
    for number in range(len(pdf)):
        page = pdf[number]
        try:
            yield page
        finally:
            page.close()
            budget.page()


def _title(pdf: pypdfium2.PdfDocument) -> str | None:
    """Return the title; None where a program filled in its own name or the file's."""
    try:
        title = spaced(clean(pdf.get_metadata_value("Title"))).removeprefix("Microsoft Word - ")
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return None
    is_title = 1 < len(title) <= MAX_TITLE and any(map(str.isalpha, title)) and not NO_TITLE.fullmatch(title)
    return title if is_title else None
