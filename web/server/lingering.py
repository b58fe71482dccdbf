"""Connections that are closed while their caller still sends: the answer must reach who reads only after all is sent.

A socket that is closed with unread bytes in it resets the connection, and the caller's system throws away the answer
that had come. So the way out is closed first, and what still comes is read and dropped, within bounds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, ClassVar, Final, cast

LINGER_SECONDS: Final = 10.0
LINGER_BYTES: Final = 128 * 1024 * 1024
"""Bytes that are dropped of what came too late: twice the largest body that is read."""
MOST_LINGERING: Final = 256
"""Connections of a process that linger at a time; others are closed at once."""


class Lingering(asyncio.Protocol):
    """Stands before uvicorn's class, which sees a transport that closes in two steps."""

    lingering: ClassVar[set[Lingering]] = set()
    speaks_last = False
    """Whether what still comes is of no interest, though no request is in work."""
    linger_seconds = LINGER_SECONDS
    _dropped = 0
    _ends: asyncio.TimerHandle | None = None
    _raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Puts the one transport in front of the other."""
        self._raw = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.BaseTransport", TwoSteps(self._raw, self)))

    def data_received(self, data: bytes) -> None:
        """Drops what comes too late."""
        if self._ends is None:
            super().data_received(data)
            return
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait, if there is one."""
        self.lingering.discard(self)
        if self._ends is not None:
            self._ends.cancel()
        super().connection_lost(exc)

    @property
    def leaves(self) -> bool:
        """Whether nothing more is said on this connection."""
        return self._ends is not None

    def expects_more(self) -> bool:
        """Whether the caller may still be sending."""
        return self.speaks_last or getattr(getattr(self, "cycle", None), "more_body", False)

    def linger(self, transport: asyncio.Transport) -> None:
        """Says that nothing more is said, and drops what comes for a while."""
        self.lingering.add(self)
        self._ends = asyncio.get_running_loop().call_later(self.linger_seconds, self._hang_up)
        with suppress(OSError, RuntimeError):
            transport.write_eof()
        transport.resume_reading()

    def _hang_up(self) -> None:
        if self._raw is not None:
            self._raw.abort()


class TwoSteps:
    """A transport that lingers when it is closed, where its caller may still be sending."""

    def __init__(self, transport: asyncio.Transport, protocol: Lingering) -> None:
        self._transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends the data, unless the way out is closed: uvicorn tells of it the last request of a pipeline alone."""
        if not self.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._protocol.leaves or self._transport.is_closing()

    def close(self) -> None:
        """At once, or when what still comes has been dropped."""
        if self.is_closing():
            return
        if self._protocol.expects_more() and len(Lingering.lingering) < MOST_LINGERING:
            self._protocol.linger(self._transport)
        else:
            self._transport.close()

    def close_now(self) -> None:
        """Without another word, and without reading on."""
        self._transport.close()
