"""An error response of the application that is rewritten into the common error shape."""

from __future__ import annotations

from typing import Final

from starlette.types import Message

from web.error_shape import reshaped

HELD_BYTES: Final = 64 * 1024
"""Bytes of the longest error body that is rewritten; a longer one is replaced."""

Headers = list[tuple[bytes, bytes]]


class HeldAnswer:
    """An error response of the application, held back until its body is complete."""

    def __init__(self, start: Message) -> None:
        self.status: int = start["status"]
        self.headers: Headers = [(name.lower(), value) for name, value in start.get("headers", [])]
        self.body = bytearray()
        self.too_long = False

    def add(self, piece: bytes) -> None:
        """Append a piece of the body, until ``HELD_BYTES`` are exceeded."""
        self.too_long = self.too_long or len(self.body) + len(piece) > HELD_BYTES
        if not self.too_long:
            self.body += piece

    def reshaped(self) -> bytes:
        """Return the body in the common error shape."""
        content_type = dict(self.headers).get(b"content-type", b"")
        return reshaped(self.status, content_type, b"" if self.too_long else bytes(self.body))

    def kept_headers(self) -> Headers:
        """Return the headers without those that describe the replaced body."""
        return [
            (name, value)
            for name, value in self.headers
            if not name.startswith(b"content-") and name not in {b"transfer-encoding", b"etag", b"last-modified"}
        ]
