"""Bytes of text in any encoding to characters that can be displayed, stored and sent."""

from __future__ import annotations

import codecs
import re
from typing import Final

from runners.documents.document import TOO_LONG
from runners.documents.formats import ACCEPTED
from runners.documents.text import encodings
from runners.errors import PayloadTooLarge, UnsupportedMediaType
from runners.limits import MAX_CHARACTERS

MAX_BYTES: Final = 4 * MAX_CHARACTERS + 4
"""Bytes of a text: no encoding takes more than four for a character."""

BOMS: Final = {  # the marks of UTF-32 begin like those of UTF-16, so they come first
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}

MAX_STRANGE: Final = 0.02
"""Share of characters, besides two, that may be controls or undecodable in a damaged text."""

LINE_ENDS: Final = re.compile("\r\n?|[\x85\u2028\u2029]")
# Controls except tab and newline, C1 controls, surrogates, byte order marks, and noncharacters.
UNWANTED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
STRANGE: Final = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd\ufffe\uffff]")


def decode(data: bytes, declared: str | None = None) -> str:
    """Decode and clean a text. ``declared`` is the encoding that the text declares; a byte order mark overrides it.

    Raises UnsupportedMediaType where the bytes are not text.
    """
    text = _decoded(data, declared)
    if len(text) - len(STRANGE.sub("", text)) > 2 + MAX_STRANGE * len(text):
        raise UnsupportedMediaType(ACCEPTED)
    return clean(text)


def clean(text: str) -> str:
    """Turn every line end into a newline, and drop characters that do not belong in text."""
    return UNWANTED.sub("", LINE_ENDS.sub("\n", text.replace("\f", "\n\n").replace("\ufffd", "")))


def check_bytes(data: bytes) -> None:
    """Raise PayloadTooLarge for more bytes than a text may have in any encoding."""
    if len(data) > MAX_BYTES:
        raise PayloadTooLarge(TOO_LONG)


def check_length(text: str) -> str:
    """Return the text. Raises PayloadTooLarge where it is too long."""
    if len(text) > MAX_CHARACTERS:
        raise PayloadTooLarge(TOO_LONG)
    return text


def _decoded(data: bytes, declared: str | None) -> str:
    for mark, encoding in BOMS.items():
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    wide = encodings.wide(data)
    if wide:
        return data.decode(wide, "replace")
    return _unmarked(data, declared)


def _unmarked(data: bytes, declared: str | None) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        pass
    if encodings.is_broken_utf8(data):
        return data.decode("utf-8", "replace")
    encoding = None if encodings.has_many_controls(data) else encodings.known(declared) or encodings.guess(data)
    if encoding is None:
        raise UnsupportedMediaType(ACCEPTED)
    return data.decode(encoding, "replace")
