"""Bytes to a document: the one way in, whatever they are."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from runners.documents import formats, letters
from runners.documents.document import Document
from runners.documents.docx import docx
from runners.documents.formats import Kind
from runners.documents.html import html
from runners.documents.pdf import pdf
from runners.documents.scans import pictures
from runners.documents.scans.pages import AsPictures, PageReader
from runners.documents.text import mail, markdown, plain, xml_text
from runners.errors import InvalidDocument, NoText, UnsupportedMediaType
from runners.images import files

EMBEDDED: Final = re.compile(r"(data:image/[\w.+-]{1,40};base64,)[A-Za-z0-9+/=]+")
"""The bytes of a picture in Markdown, which are no text."""
MOST_LINES: Final = 50_000
"""More lines than a book has: Markdown of two characters a line costs ten times what prose does."""

NOTHING_WRITTEN: Final = "no text was found in the document"


def read(data: bytes, filename: str, pages: PageReader, *, pictures_only: bool = False) -> Document:
    """The document, with text or with pictures of pages in it; ``pages`` reads those that have no text of their own.

    ``filename`` tells Markdown and HTML from text, and nothing else. Blocks for as long as it takes, and may hang or
    crash in a parser: to be called in a process of its own. Raises InvalidDocument, InvalidImage, PayloadTooLarge,
    UnsupportedMediaType, NoText, and what ``pages`` raises.
    """
    kind = formats.of_bytes(data)
    if pictures_only and kind is not Kind.PICTURE:
        raise UnsupportedMediaType(files.ACCEPTED)
    if kind in {Kind.PDF, Kind.PICTURE, Kind.DOCX}:
        module = {Kind.PDF: pdf, Kind.PICTURE: pictures, Kind.DOCX: docx}[kind]
        return _with_pages(_cleaned(module.read(data, pages)), pages)
    found = _cleaned(mail.read(data) if kind is Kind.MAIL else _text(data, filename))
    if not found.text:
        raise InvalidDocument(formats.EMPTY)
    return found


def _text(data: bytes, filename: str) -> Document:
    text = plain.decode(data, html.declared(data))
    kind = formats.of_text(text, filename)
    if kind is Kind.HTML:  # most of a page may be tags and pictures: what counts is the text that is left of it
        return html.read(text)
    if kind is Kind.XML:
        return xml_text.read(text, formats.ACCEPTED)
    plain.check_bytes(data)
    return _markdown(text) if kind is Kind.MARKDOWN else Document(letters.joined(plain.check_length(text.strip())), 1)


def _markdown(source: str) -> Document:
    """Its length is judged before it is parsed, without the pictures in it; what is all lines is read as it stands."""
    text = letters.joined(plain.check_length(EMBEDDED.sub(r"\1", source)))
    return markdown.read(text) if text.count("\n") <= MOST_LINES else Document(text, 1)


def _cleaned(document: Document) -> Document:
    """Parsers make characters of references and codes, among them those that no text may have."""
    text = plain.check_length(letters.composed(plain.clean(document.text)).strip())
    title = letters.composed(plain.clean(document.title or "")).strip()
    return replace(document, text=text, title=title or None)


def _with_pages(document: Document, pages: PageReader) -> Document:
    images = tuple(pages.images) if isinstance(pages, AsPictures) else ()
    if not document.text and not images:
        raise NoText(NOTHING_WRITTEN)
    return replace(document, images=images)
