"""Do bytes begin like an e-mail? Only the headers decide."""

from __future__ import annotations

import re
from typing import Final

BEGINNING: Final = 64 * 1024
"""Bytes within which the headers of an e-mail must end."""
MBOX: Final = re.compile(rb"(?:\A|\n\r?\n)From \S{1,300} [A-Z][a-z]{2} [^\r\n]{10,60}\r?\n(?=[!-9;-~]{1,80}:)")
HEADER: Final = re.compile(rb"([!-9;-~]{1,80}):[^\n]*\n(?:[ \t][^\n]*\n)*+")
BLANK: Final = re.compile(rb"\r?\n|\Z")
OF_TRANSPORT: Final = frozenset(
    [b"mime-version", b"received", b"return-path", b"message-id", b"content-type", b"dkim-signature", b"delivered-to"]
)
OF_LETTERS: Final = frozenset([b"from", b"to", b"subject", b"date", b"cc", b"reply-to", b"sender"])


def is_mail(data: bytes) -> bool:
    """Whether the bytes begin with the headers of an e-mail, or with those of a mailbox."""
    start = data[:BEGINNING].lstrip(b"\xef\xbb\xbf \t\r\n")
    mailbox = MBOX.match(start)
    position, names = mailbox.end() if mailbox else 0, set()
    while header := HEADER.match(start, position):
        names.add(header[1].lower())
        position = header.end()
    if not BLANK.match(start, position) and len(data) <= BEGINNING:
        return False
    return len(names & OF_TRANSPORT) > 1 or (b"from" in names and len(names & (OF_TRANSPORT | OF_LETTERS)) > 2)
