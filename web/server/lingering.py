"""Connections that are closed while the client still sends: many clients read the response only after their body.

A socket that is closed with unread bytes resets the connection, and the client's system discards the response that
it had received. So the sending side is closed first, and further input is read and dropped, within limits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, ClassVar, Final, cast

LINGER_SECONDS: Final = 10.0
"""Seconds for which further input of a closed connection is read and dropped."""
LINGER_BYTES: Final = 128 * 1024 * 1024
"""Bytes of late input that are dropped before the connection is reset: twice the largest accepted body."""
MAX_LINGERING_CONNECTIONS: Final = 256
"""Connections of a process that linger concurrently; further ones are closed at once."""


class Lingering(asyncio.Protocol):
    """Comes before uvicorn's class, which sees a transport that closes in two steps."""

    lingering: ClassVar[set[Lingering]] = set()
    speaks_last = False
    """Whether further input is to be dropped although no request is in progress."""
    linger_seconds = LINGER_SECONDS
    _dropped = 0
    _linger_timer: asyncio.TimerHandle | None = None
    _raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wrap the transport in one that closes in two steps."""
        self._raw = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.BaseTransport", TwoSteps(self._raw, self)))

    def data_received(self, data: bytes) -> None:
        """Drop input that arrives after the close."""
        if self._linger_timer is None:
            super().data_received(data)
            return
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the linger timer, if it runs."""
        self.lingering.discard(self)
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)

    @property
    def leaves(self) -> bool:
        """Return whether the sending side is closed."""
        return self._linger_timer is not None

    def expects_more(self) -> bool:
        """Return whether the client may still be sending."""
        return self.speaks_last or getattr(getattr(self, "cycle", None), "more_body", False)

    def linger(self, transport: asyncio.Transport) -> None:
        """Close the sending side, and drop input for ``linger_seconds``."""
        self.lingering.add(self)
        self._linger_timer = asyncio.get_running_loop().call_later(self.linger_seconds, self._hang_up)
        with suppress(OSError, RuntimeError):
            transport.write_eof()
        transport.resume_reading()

    def _hang_up(self) -> None:
        if self._raw is not None:
            self._raw.abort()


class TwoSteps:
    """A transport that lingers on close if the client may still be sending."""

    def __init__(self, transport: asyncio.Transport, protocol: Lingering) -> None:
        self._transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        """Delegate every other attribute to the transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data unless the sending side is closed; uvicorn checks that for the last pipelined request only."""
        if not self.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing."""
        return self._protocol.leaves or self._transport.is_closing()

    def close(self) -> None:
        """Close at once, or linger if the client may still be sending."""
        if self.is_closing():
            return
        if self._protocol.expects_more() and len(Lingering.lingering) < MAX_LINGERING_CONNECTIONS:
            self._protocol.linger(self._transport)
        else:
            self._transport.close()

    def close_now(self) -> None:
        """Close without lingering."""
        self._transport.close()
