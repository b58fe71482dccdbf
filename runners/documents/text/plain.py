"""Bytes of text in any encoding to characters that can be shown, stored and sent."""

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
"""No encoding takes more bytes than four for a character."""

BOMS: Final = {  # the marks of UTF-32 begin like those of UTF-16, and stand before them
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}

MAX_STRANGE: Final = 0.02
"""The share of characters, besides two, that may be controls or undecodable: a text may have lost some."""

LINE_ENDS: Final = re.compile("\r\n?|[\x85\u2028\u2029]")
# Controls but tab and newline, private controls, halves of characters, byte order marks, and what is no character.
UNWANTED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
STRANGE: Final = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd\ufffe\uffff]")


def decode(data: bytes, declared: str | None = None) -> str:
    """The text, cleaned. ``declared`` is an encoding that the text itself names; a byte order mark outweighs it.

    Raises UnsupportedMediaType where the bytes are no text.
    """
    text = _decoded(data, declared)
    if len(text) - len(STRANGE.sub("", text)) > 2 + MAX_STRANGE * len(text):
        raise UnsupportedMediaType(ACCEPTED)
    return clean(text)


def clean(text: str) -> str:
    """With newlines alone for line ends, and without what no text is made of."""
    return UNWANTED.sub("", LINE_ENDS.sub("\n", text.replace("\f", "\n\n").replace("\ufffd", "")))


def check_bytes(data: bytes) -> None:
    """Raises PayloadTooLarge for bytes that are too many for a text, whatever their encoding."""
    if len(data) > MAX_BYTES:
        raise PayloadTooLarge(TOO_LONG)


def check_length(text: str) -> str:
    """The text itself. Raises PayloadTooLarge."""
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
