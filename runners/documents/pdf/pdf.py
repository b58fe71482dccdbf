"""PDFs: a page's own text where it has some, and what is read off its picture where it has none.

PDFium is in C++ and for one thread alone; it may hang or fall on a hostile file, and is called in a process of its own.
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

logging.getLogger("pypdfium2").setLevel(logging.ERROR)  # it warns of forms that it does not show: we say so ourselves


def read(data: bytes, pages: PageReader) -> Document:
    """The text is empty where there is none, and where ``pages`` are kept as pictures: then it is all of them or none.

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
    """The number of pages is judged before any of them is loaded."""
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
    """Raises PayloadTooLarge."""
    found: list[Survey] = []
    length = 0
    for number, page in enumerate(_opened_pages(pdf)):
        found.append(survey.survey(page, number))
        length += sum(len(piece.text) for piece in (*found[-1].visible, *found[-1].hidden))
        if length > MAX_CHARACTERS:
            raise PayloadTooLarge(TOO_LONG)
    survey.without_templates(found)
    return found


def _opened_pages(pdf: pypdfium2.PdfDocument) -> Iterator[pypdfium2.PdfPage]:
    for number in range(len(pdf)):
        page = pdf[number]
        try:
            yield page
        finally:
            page.close()
            budget.page()


def _title(pdf: pypdfium2.PdfDocument) -> str | None:
    """None where a program named the document for itself or for its file."""
    try:
        title = spaced(clean(pdf.get_metadata_value("Title"))).removeprefix("Microsoft Word - ")
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return None
    is_title = 1 < len(title) <= MAX_TITLE and any(map(str.isalpha, title)) and not NO_TITLE.fullmatch(title)
    return title if is_title else None
