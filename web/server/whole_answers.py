"""Responses that leave in one write where possible: the headers together with the body.

uvicorn writes the two separately. Between the writes a busy process may wait milliseconds for the interpreter's lock
while another thread computes. A process that is killed there leaves headers without a body, and a proxy that has
forwarded them can retry no other replica.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast


class WholeAnswers(asyncio.Protocol):
    """Comes before uvicorn's class, which sees a transport that joins consecutive writes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wrap the transport in one that joins writes."""
        super().connection_made(cast("asyncio.BaseTransport", JoinedWrites(cast("asyncio.Transport", transport))))


class JoinedWrites:
    """A transport that holds a first write for a second one, at most until the next iteration of the event loop.

    It never holds more than one piece, so a slow reader blocks the application as before.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        """Delegate every other attribute to the transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data together with the held piece, or hold it."""
        if self._held:
            data, self._held = b"".join((self._held, data)), b""
            self._transport.write(data)
        elif data:
            self._held = bytes(data)
            asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        """Send the held piece, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)
