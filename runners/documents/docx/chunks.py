"""Documents embedded in a Word document, which Word merges on opening: web pages, MHTML archives, text, Word."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from runners.documents import formats
from runners.documents.document import Document
from runners.documents.formats import Kind
from runners.documents.html import html
from runners.documents.text import mail, plain, xml_text
from runners.errors import InvalidDocument, UnsupportedMediaType

HEADER: Final = re.compile(rb"\s{0,20}[A-Za-z][A-Za-z-]{1,40}:")
HEADERS: Final = 4096
"""Bytes at the start of an archived web page that hold its MIME-Version header."""
ENDINGS: Final = {"text/html": ".html", "application/xhtml+xml": ".html", "text/plain": ".txt"}
NOT_READ: Final = (
    "the Word document has another document inside it, of a kind that is not read there:"
    " open it in Word, save it again, and send what was saved"
)


def read(data: bytes, part: str, media_type: str, nested: Callable[[bytes], Document]) -> Document:
    """Read an embedded document; ``nested`` reads Word's. Raises UnsupportedMediaType, and what the readers raise."""
    if not data.strip():
        return Document("", 1)
    if HEADER.match(data) and b"mime-version:" in data[:HEADERS].lower():
        return _page_of(data)
    try:
        kind = formats.of_bytes(data)
        if kind is Kind.DOCX:
            return nested(data)
        if kind is None:
            return _text(data, part + ENDINGS.get(media_type.partition(";")[0], ""), html.declared(data))
    except UnsupportedMediaType:
        raise UnsupportedMediaType(NOT_READ) from None
    raise UnsupportedMediaType(NOT_READ)


def _text(data: bytes, name: str, encoding: str | None) -> Document:
    text = plain.decode(data, encoding)
    kind = formats.of_text(text, name)
    if kind is Kind.XML:
        return xml_text.read(text, NOT_READ)
    return html.read(text) if kind is Kind.HTML else Document(text, 1)


def _page_of(message: bytes) -> Document:
    """Read the page in an MHTML archive; empty where it has none. Raises UnsupportedMediaType."""
    try:
        return replace(mail.read(message), title=None)
    except InvalidDocument as error:
        if error.message == mail.NO_TEXT:
            return Document("", 1)
        raise UnsupportedMediaType(NOT_READ) from None
