"""Which format is a document in? Its bytes decide; its name only tells kinds of text apart."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from runners.documents import mail_headers
from runners.errors import InvalidDocument, UnsupportedMediaType

ACCEPTED: Final = (
    "the document must be a PDF, a Word document (.docx), HTML, Markdown, plain text, an e-mail (also MHTML),"
    " a feed or a document in XML, or a picture of a page (JPEG, PNG, WebP, GIF, BMP or TIFF)"
)
EMPTY: Final = "the document is empty"
LOCKED: Final = "the document is encrypted: remove its password, and send it again"


class Kind(Enum):
    """The formats that have a reader."""

    PDF = "pages of text, of pictures, or of both"
    DOCX = "a zip of XML with a Word document in it"
    HTML = "text with tags"
    MAIL = "headers and parts, encoded"
    XML = "text with tags of its own"
    MARKDOWN = "text with marks"
    TEXT = "text"
    PICTURE = "one or more pages as pixels"


PICTURES: Final = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|II\*\0|MM\0\*"
    rb"|BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    re.DOTALL,
)
ZIP: Final = re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)")
WORD_PART: Final = re.compile(rb"word[/\\]", re.IGNORECASE)  # some programs write the slashes of Windows
CONTENT_TYPES: Final = b"[content_types].xml"
OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")

# RTF and PostScript are text that means nothing to a reader; the other formats have a signature that plain text could
# begin with, or a long one. Any other binary file is recognized by its control characters.
OTHER_FORMATS: Final = re.compile(
    rb"\{\\rtf|%!PS|\x1f\x8b|BZh[1-9]|\xfd7zXZ|7z\xbc\xaf|Rar!\x1a|\x7fELF|MZ.\0|\xca\xfe\xba\xbe|\0asm"
    rb"|OggS\0|ID3[\2-\4]\0|fLaC\0|RIFF....(WAVE|AVI )|SQLite format 3\0|.{4}ftyp|II\+\0|MM\0\+|\xff\x0a|\0\0\0\x0cJXL",
    re.DOTALL,
)
CONTAINERS: Final = {
    "a calendar (iCalendar)": re.compile(r"BEGIN:VCALENDAR\b"),
    "an address card (vCard)": re.compile(r"BEGIN:VCARD\b"),
    "a web archive (WARC)": re.compile(r"WARC/\d"),
    "an encrypted message (PGP)": re.compile(r"-----BEGIN PGP MESSAGE-----"),
}
"""Formats that contain other texts, by the names in the error message."""
SPACE_OR_BOM: Final = b"\xef\xbb\xbf \t\r\n\f"

PAGES: Final = (".html", ".htm", ".xhtml")
"""File name extensions of web pages."""
XHTML: Final = re.compile(r"<\w{1,40}\s[^<>]{0,2000}?xmlns=[\"']http://www\.w3\.org/1999/xhtml[\"']")
"""A root element in the XHTML namespace, whatever its name."""

BEGINNING: Final = 10_000
"""Characters within which a page or a drawing must begin."""
# Matched one at a time: repeating these in one pattern takes time exponential in their number.
DECLARATION: Final = re.compile(r"\s*(?:<\?[^>]{0,1000}\?>|<!--.{0,5000}?-->)", re.DOTALL)
SVG: Final = re.compile(r"<(?:!DOCTYPE\s+)?svg\b", re.IGNORECASE)
TAGS: Final = (
    "html|head|title|meta|body|script|style|link|base|article|main|section|div|p|h[1-6]|table|ul|ol|dl|span|br|hr|a"
    "|b|i|u|em|strong|small|font|center|img|picture|figure|blockquote|pre|code|header|footer|nav|aside|form|details"
    "|noscript|iframe|template|ruby|tbody|tr|td|li|input|button"
)
HTML: Final = re.compile(rf"<(?:!DOCTYPE\s+html|(?:{TAGS})(?=[\s/>]))[^<]*>", re.IGNORECASE)
XML: Final = re.compile(
    r"<(?:!DOCTYPE\s+(?!html|svg)[\w:.-]+|(?:rss|feed|rdf:RDF|TEI|FictionBook|office:document)(?=[\s>])"
    r"|[\w:.-]+\s[^<>]{0,1000}?xmlns(?::\w+)?\s?=\s?[\"'](?!http://www\.w3\.org/(?:1999/xhtml|2000/svg)))",
)
PAGE: Final = re.compile(r"<(?:!DOCTYPE\s+html|html)\b", re.IGNORECASE)
FRAGMENT: Final = re.compile(
    r"<(/?)(?:p|br|div|b|i|u|em|strong|a|ul|ol|li|h[1-6]|table|tr|td|span|font)(?:\s[^<>]{0,500})?(/?)>", re.IGNORECASE
)
MIN_TAGS: Final = 3
MAX_CHARACTERS_PER_TAG: Final = 400
"""Characters per tag in a fragment of a page."""


def of_bytes(data: bytes) -> Kind | None:
    """Return the format, or None for any kind of text. Raises InvalidDocument and UnsupportedMediaType."""
    if not data:
        raise InvalidDocument(EMPTY)
    if _is_pdf(data):
        return Kind.PDF
    if PICTURES.match(data):
        return Kind.PICTURE
    if ZIP.match(data) and _holds_word(data):
        return Kind.DOCX
    if mail_headers.is_mail(data):
        return Kind.MAIL
    if data.startswith(OLE) and ENCRYPTED_PACKAGE in data:
        raise InvalidDocument(LOCKED)
    if ZIP.match(data) or data.startswith(OLE) or OTHER_FORMATS.match(data.lstrip(SPACE_OR_BOM)):
        raise UnsupportedMediaType(ACCEPTED)
    return None


def of_text(text: str, filename: str) -> Kind:
    """Return which kind of text this is. Raises UnsupportedMediaType for a drawing or a container."""
    name, start = filename.lower(), _after_declarations(text[:BEGINNING])
    if SVG.match(start):
        raise UnsupportedMediaType(ACCEPTED)
    for container, begins in CONTAINERS.items():
        if begins.match(start):
            raise UnsupportedMediaType(f"{container} is not read here; {ACCEPTED}")
    is_xml = text.lstrip()[:5] == "<?xml" and start.startswith("<") and not PAGE.match(start)
    is_page = name.endswith(PAGES) or XHTML.match(start) is not None
    if XML.match(start) or (is_xml and not is_page):
        return Kind.XML
    if name.endswith((".md", ".markdown")):
        return Kind.MARKDOWN
    if name.endswith(PAGES) or is_page or HTML.match(start) or _is_fragment(start):
        return Kind.HTML
    return Kind.TEXT


def _is_fragment(start: str) -> bool:
    """Whether a text that begins with words continues like a part of a page."""
    tags = FRAGMENT.findall(start)
    return len(tags) >= MIN_TAGS and len(start) <= MAX_CHARACTERS_PER_TAG * len(tags) and any(map(any, tags))


def _after_declarations(text: str) -> str:
    """Return the text after XML's declarations and comments."""
    position = 0
    while declaration := DECLARATION.match(text, position):
        position = declaration.end()
    return text[position:].lstrip()


def _is_pdf(data: bytes) -> bool:
    """Whether a PDF header starts the file, or follows bytes that some mail programs prepend: never within text."""
    header = re.search(rb"%PDF-\d", data[:1024])
    if not header:
        return False
    return not data[: header.start()].strip(SPACE_OR_BOM) or b"%%EOF" in data[-2048:]


def _holds_word(data: bytes) -> bool:
    """Whether the zip is a Word document; true for a damaged one as well, whose directory may be missing."""
    return bool(WORD_PART.search(data)) and CONTENT_TYPES in data.lower()
