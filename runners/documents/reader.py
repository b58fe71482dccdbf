"""Bytes to a document: the entry point for every format."""

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
"""A picture embedded in Markdown, whose bytes are not text."""
MAX_MARKDOWN_LINES: Final = 50_000
"""Lines up to which Markdown is parsed, more than a book has: two characters a line cost ten times what prose does."""

NOTHING_WRITTEN: Final = "no text was found in the document"


def read(data: bytes, filename: str, pages: PageReader, *, pictures_only: bool = False) -> Document:
    """Read a document; ``pages`` reads pages that have no text of their own, or keeps them as pictures.

    ``filename`` only tells Markdown and HTML from text. A parser may hang or crash, so call it in a process of its
    own. Raises InvalidDocument, InvalidImage, PayloadTooLarge,
    UnsupportedMediaType, NoText, and what ``pages`` raises.
    """
    kind = formats.of_bytes(data)
    if pictures_only and kind is not Kind.PICTURE:
        raise UnsupportedMediaType(files.ACCEPTED)
    if kind in {Kind.PDF, Kind.PICTURE, Kind.DOCX}:
        module = {Kind.PDF: pdf, Kind.PICTURE: pictures, Kind.DOCX: docx}[kind]
        return _with_pages(_cleaned(module.read(data, pages)), pages)
    document = _cleaned(mail.read(data) if kind is Kind.MAIL else _text(data, filename))
    if not document.text:
        raise InvalidDocument(formats.EMPTY)
    return document


def _text(data: bytes, filename: str) -> Document:
    text = plain.decode(data, html.declared(data))
    kind = formats.of_text(text, filename)
    if kind is Kind.HTML:  # most of a page may be tags and pictures: only the length of its text counts
        return html.read(text)
    if kind is Kind.XML:
        return xml_text.read(text, formats.ACCEPTED)
    plain.check_bytes(data)
    return _markdown(text) if kind is Kind.MARKDOWN else Document(letters.joined(plain.check_length(text.strip())), 1)


def _markdown(source: str) -> Document:
    """Check the length without embedded pictures, then parse; a text of too many lines is read as plain text."""
    text = letters.joined(plain.check_length(EMBEDDED.sub(r"\1", source)))
    return markdown.read(text) if text.count("\n") <= MAX_MARKDOWN_LINES else Document(text, 1)


def _cleaned(document: Document) -> Document:
    """Clean what parsers decode from references and codes, which may be characters that text must not contain."""
    text = plain.check_length(letters.composed(plain.clean(document.text)).strip())
    title = letters.composed(plain.clean(document.title or "")).strip()
    return replace(document, text=text, title=title or None)


def _with_pages(document: Document, pages: PageReader) -> Document:
    images = tuple(pages.images) if isinstance(pages, AsPictures) else ()
    if not document.text and not images:
        raise NoText(NOTHING_WRITTEN)
    return replace(document, images=images)
