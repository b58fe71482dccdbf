"""E-mail, and web pages saved as e-mail (MHTML), to their decoded text without headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from typing import Any, Final, TypeAlias

from runners.documents import letters
from runners.documents.document import Document
from runners.documents.html import html
from runners.documents.mail_headers import MBOX
from runners.documents.text import plain
from runners.errors import InvalidDocument

Part: TypeAlias = "Message[Any, Any]"

NO_TEXT: Final = "the e-mail has no text of its own: send what is attached to it"
TOO_NESTED: Final = "the e-mail has too many parts inside one another, or too long headers"

MAX_MESSAGES: Final = 200
"""Messages of a mailbox that are read."""
MAX_DEPTH: Final = 30
"""Depth of nested parts; the parser compares every line with the boundaries of all outer parts."""
MAX_HEADER: Final = 8_000
"""Bytes of a header that describes a part."""
BOUNDARY: Final = re.compile(rb"\bboundary\s{0,9}=", re.IGNORECASE)
LONG_HEADER: Final = re.compile(
    rb"^content-(?:type|disposition|transfer-encoding):(?:[^\n]{%d}|[^\n]*\n(?:[ \t][^\n]*\n){100})" % MAX_HEADER,
    re.IGNORECASE | re.MULTILINE,
)
HTML_FACTOR: Final = 2
"""Factor by which the HTML's text must be longer than the plain text to be read instead."""
SIGNATURE: Final = re.compile(r"^-- ?$.*\Z", re.MULTILINE | re.DOTALL)
MAX_SIGNATURE: Final = 1_000
QUOTED: Final = re.compile(r"^>.*\n?", re.MULTILINE)
ATTRIBUTION: Final = re.compile(r"^[^\n>]{0,200}:[ \t]*\n+(?=>)", re.MULTILINE)
QUOTED_FACTOR: Final = 3
"""Factor by which quoted text must exceed an answer's own to be read, too: the answer forwards it."""


def read(data: bytes) -> Document:
    """Read one e-mail, a mailbox of several, or MHTML. Raises InvalidDocument where there is no text in it."""
    documents = [_document(message) for message in _messages(data.lstrip(b"\xef\xbb\xbf \t\r\n"))]
    text = "\n\n".join(document.text for document in documents if document.text)
    if not text:
        raise InvalidDocument(NO_TEXT)
    return Document(text, 1, next((document.title for document in documents if document.title), None))


def _messages(data: bytes) -> Iterator[Part]:
    # The newer policy parses headers by RFC 5322 in time that grows with the square of their length.
    parser = BytesParser(policy=policy.compat32)
    messages = [message for message in MBOX.split(data) if message.strip()] if MBOX.match(data) else [data]
    for message in messages[:MAX_MESSAGES]:
        if LONG_HEADER.search(message) or len(BOUNDARY.findall(message)) > MAX_DEPTH:
            raise InvalidDocument(TOO_NESTED)
        yield parser.parsebytes(message)


def _document(message: Part) -> Document:
    parts = [part for part in _texts(message, MAX_DEPTH) if part.text]
    title = _subject(message) or next((part.title for part in parts if part.title), None)
    return Document("\n\n".join(part.text for part in parts), 1, title)


def _subject(message: Part) -> str:
    written = str(message.get("Subject") or "")[:MAX_HEADER]
    with suppress(HeaderParseError, LookupError, ValueError):  # a badly encoded subject is kept as it is
        written = str(make_header(decode_header(written)))
    return html.spaced(written)[: html.MAX_TITLE]


def _texts(part: Part, depth: int) -> Iterator[Document]:
    """Yield the texts of the parts; of alternatives only the better one. Raises InvalidDocument."""
    if depth < 0:
        raise InvalidDocument(TOO_NESTED)
    kind = part.get_content_type()
    if kind == "message/rfc822":
        yield from (_document(inner) for inner in _inner(part))
    elif part.get_content_disposition() == "attachment":
        return
    elif kind == "multipart/alternative":
        yield _better([_joined(_texts(inner, depth - 1)) for inner in _inner(part)])
    elif kind == "multipart/related":
        yield from (document for inner in _inner(part)[:1] for document in _texts(inner, depth - 1))
    elif part.is_multipart():
        yield from (document for inner in _inner(part) for document in _texts(inner, depth - 1))
    elif kind in {"text/plain", "text/html", "application/xhtml+xml"}:
        yield _text(part, kind)


def _inner(part: Part) -> list[Part]:
    payload = part.get_payload()
    return [inner for inner in payload if isinstance(inner, Message)] if isinstance(payload, list) else []


def _joined(documents: Iterator[Document]) -> Document:
    parts = list(documents)
    text = "\n\n".join(document.text for document in parts if document.text)
    return Document(text, 1, next((document.title for document in parts if document.title), None))


def _better(alternatives: list[Document]) -> Document:
    """Return the first alternative, which is plain text, unless another is much longer."""
    best = Document("", 1)
    for document in alternatives:
        if len(document.text) > HTML_FACTOR * len(best.text):
            best = document
    return best


def _text(part: Part, kind: str) -> Document:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset()
    if kind != "text/plain":
        return html.read(_decoded(data, charset or html.declared(data)))
    text = _decoded(data, charset)
    if part.get_param("format") == "flowed":
        text = _unwrapped(text, delete_space=part.get_param("delsp") == "yes")
    return Document(letters.joined(_own_words(text)).strip(), 1)


def _decoded(data: bytes, charset: str | None) -> str:
    if charset and charset.lower().startswith(("iso-2022-", "hz")):  # these look like ASCII
        with suppress(LookupError):
            return plain.clean(data.decode(charset, "replace"))
    return plain.decode(data, charset)


def _unwrapped(text: str, *, delete_space: bool) -> str:
    """Join lines that end in a space with the next one (RFC 3676)."""
    pieces: list[str] = []
    for line in text.split("\n"):
        bare = line[1:] if line.startswith(" ") else line
        goes_on = bare.endswith(" ") and bare != "-- " and not bare.startswith(">")
        pieces.append((bare[:-1] if delete_space else bare) if goes_on else f"{bare}\n")
    return "".join(pieces)


def _own_words(text: str) -> str:
    """Drop the signature, and quotations of earlier e-mails unless they are most of this one."""
    signature = SIGNATURE.search(text)
    if signature and len(signature[0]) <= MAX_SIGNATURE and text[: signature.start()].strip():
        text = text[: signature.start()]
    unquoted = QUOTED.sub("", ATTRIBUTION.sub("", text))
    if unquoted.strip() and len(text) <= (QUOTED_FACTOR + 1) * len(unquoted):
        return unquoted
    return re.sub(r"^[> ]*> ?", "", text, flags=re.MULTILINE)
