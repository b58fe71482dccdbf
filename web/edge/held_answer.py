"""An error answer of the application on its way into our shape."""

from __future__ import annotations

from typing import Final

from starlette.types import Message

from web.error_shape import reshaped

HELD_BYTES: Final = 64 * 1024
"""Most bytes of an error body that are kept to be put into our shape; a longer one is replaced."""

Headers = list[tuple[bytes, bytes]]


class HeldAnswer:
    """An error answer of the application, kept back until its body is complete."""

    def __init__(self, start: Message) -> None:
        self.status: int = start["status"]
        self.headers: Headers = [(name.lower(), value) for name, value in start.get("headers", [])]
        self.body = bytearray()
        self.too_long = False

    def add(self, piece: bytes) -> None:
        """Keeps the piece while there is room."""
        self.too_long = self.too_long or len(self.body) + len(piece) > HELD_BYTES
        if not self.too_long:
            self.body += piece

    def reshaped(self) -> bytes:
        """The body in our shape."""
        content_type = dict(self.headers).get(b"content-type", b"")
        return reshaped(self.status, content_type, b"" if self.too_long else bytes(self.body))

    def kept_headers(self) -> Headers:
        """All but those that describe the body that is replaced."""
        return [
            (name, value)
            for name, value in self.headers
            if not name.startswith(b"content-") and name not in {b"transfer-encoding", b"etag", b"last-modified"}
        ]
