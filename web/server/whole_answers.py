"""Answers leave in one piece where they can: their headers together with the body that follows.

uvicorn writes the two apart, and between the writes a busy process waits for its interpreter, for milliseconds where
another thread computes. A process that is killed there leaves headers without a body, and a proxy that has passed them
on to its caller can ask no other replica.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast


class WholeAnswers(asyncio.Protocol):
    """Stands before uvicorn's class, which sees a transport that joins what it writes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Puts the one transport in front of the other."""
        super().connection_made(cast("asyncio.BaseTransport", JoinedWrites(cast("asyncio.Transport", transport))))


class JoinedWrites:
    """A transport whose first of two writes waits for the second, at longest until the event loop goes on.

    So no more than one piece is ever held, and a caller who reads slowly stops the application as before.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends the data with what is held, or holds it."""
        if self._held:
            data, self._held = b"".join((self._held, data)), b""
            self._transport.write(data)
        elif data:
            self._held = bytes(data)
            asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        """Sends what is held first."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)
