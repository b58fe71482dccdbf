"""E-mail, and web pages saved as e-mail (MHTML), to the text that was written: decoded, and without headers."""

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
from runners.documents.text import plain
from runners.documents.text.mail_headers import MBOX
from runners.errors import InvalidDocument

Part: TypeAlias = "Message[Any, Any]"

NO_TEXT: Final = "the e-mail has no text of its own: send what is attached to it"
TOO_NESTED: Final = "the e-mail has too many parts inside one another, or too long headers"

MAX_MESSAGES: Final = 200
"""Messages of a mailbox that are read."""
MAX_DEPTH: Final = 30
"""Parts inside one another; every line is compared with the boundaries of all around it."""
MAX_HEADER: Final = 8_000
"""Bytes of a header that says what a part is."""
BOUNDARY: Final = re.compile(rb"\bboundary\s{0,9}=", re.IGNORECASE)
LONG_HEADER: Final = re.compile(
    rb"^content-(?:type|disposition|transfer-encoding):(?:[^\n]{%d}|[^\n]*\n(?:[ \t][^\n]*\n){100})" % MAX_HEADER,
    re.IGNORECASE | re.MULTILINE,
)
MUCH_MORE: Final = 2
"""Times the text of the HTML that must be longer than the plain text beside it to be read instead."""
SIGNATURE: Final = re.compile(r"^-- ?$.*\Z", re.MULTILINE | re.DOTALL)
MAX_SIGNATURE: Final = 1_000
QUOTED: Final = re.compile(r"^>.*\n?", re.MULTILINE)
ATTRIBUTION: Final = re.compile(r"^[^\n>]{0,200}:[ \t]*\n+(?=>)", re.MULTILINE)
MOSTLY: Final = 3
"""Times an answer's own words that quoted ones must be to be read, too: it forwards them."""


def read(data: bytes) -> Document:
    """``data`` is one e-mail, a mailbox of several, or MHTML. Raises InvalidDocument where there is no text in it."""
    found = [_document(message) for message in _messages(data.lstrip(b"\xef\xbb\xbf \t\r\n"))]
    text = "\n\n".join(document.text for document in found if document.text)
    if not text:
        raise InvalidDocument(NO_TEXT)
    return Document(text, 1, next((document.title for document in found if document.title), None))


def _messages(data: bytes) -> Iterator[Part]:
    # The newer policy parses headers as RFC 5322 has them, in time that grows with the square of their length.
    parser = BytesParser(policy=policy.compat32)
    each = [message for message in MBOX.split(data) if message.strip()] if MBOX.match(data) else [data]
    for message in each[:MAX_MESSAGES]:
        if LONG_HEADER.search(message) or len(BOUNDARY.findall(message)) > MAX_DEPTH:
            raise InvalidDocument(TOO_NESTED)
        yield parser.parsebytes(message)


def _document(message: Part) -> Document:
    parts = [part for part in _texts(message, MAX_DEPTH) if part.text]
    title = _subject(message) or next((part.title for part in parts if part.title), None)
    return Document("\n\n".join(part.text for part in parts), 1, title)


def _subject(message: Part) -> str:
    written = str(message.get("Subject") or "")[:MAX_HEADER]
    with suppress(HeaderParseError, LookupError, ValueError):  # a badly encoded one is shown as it came
        written = str(make_header(decode_header(written)))
    return html.spaced(written)[: html.MAX_TITLE]


def _texts(part: Part, depth: int) -> Iterator[Document]:
    """What was written, part after part; of alternatives the better one. Raises InvalidDocument."""
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
    each = list(documents)
    text = "\n\n".join(document.text for document in each if document.text)
    return Document(text, 1, next((document.title for document in each if document.title), None))


def _better(alternatives: list[Document]) -> Document:
    """The first, which is the plain one, unless another says much more."""
    best = Document("", 1)
    for document in alternatives:
        if len(document.text) > MUCH_MORE * len(best.text):
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
    if charset and charset.lower().startswith(("iso-2022-", "hz")):  # ASCII to whoever does not know them
        with suppress(LookupError):
            return plain.clean(data.decode(charset, "replace"))
    return plain.decode(data, charset)


def _unwrapped(text: str, *, delete_space: bool) -> str:
    """Lines that end in a space go on in the next one (RFC 3676)."""
    pieces: list[str] = []
    for line in text.split("\n"):
        bare = line[1:] if line.startswith(" ") else line
        goes_on = bare.endswith(" ") and bare != "-- " and not bare.startswith(">")
        pieces.append((bare[:-1] if delete_space else bare) if goes_on else f"{bare}\n")
    return "".join(pieces)


def _own_words(text: str) -> str:
    """Without the signature, and without what is quoted of an earlier e-mail unless that is most of this one."""
    signature = SIGNATURE.search(text)
    if signature and len(signature[0]) <= MAX_SIGNATURE and text[: signature.start()].strip():
        text = text[: signature.start()]
    own = QUOTED.sub("", ATTRIBUTION.sub("", text))
    if own.strip() and len(text) <= (MOSTLY + 1) * len(own):
        return own
    return re.sub(r"^[> ]*> ?", "", text, flags=re.MULTILINE)
