"""Closes connections whose request headers arrive too slowly or never end; uvicorn has no option for either.

It reads ``cycle`` of uvicorn's HTTP protocol class, the request in progress: None, or an object with
``response_complete`` and ``more_body``. If a later uvicorn renames them, connections just lose these limits.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

MAX_HEADER_BYTES: Final = 64 * 1024
"""Bytes of unfinished headers; h11 has the same limit, httptools has none and copies them with each piece."""

MAX_LATE_BYTES: Final = 128 * 1024 * 1024
"""Bytes of a body that still arrive after its response: twice the largest accepted body."""


class HeaderDeadline(asyncio.Protocol):
    """Comes before uvicorn's class; the deadline starts at the connection, then at each request's first byte."""

    header_seconds: ClassVar[float]
    _connection: asyncio.BaseTransport
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _late_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._connection = transport
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Count the bytes that arrive while no request is in progress: headers, or the rest of an answered body."""
        super().data_received(data)
        self._watch()
        self._header_bytes = self._header_bytes + len(data) if self._reads_headers() else 0
        if self._header_bytes > MAX_HEADER_BYTES:
            self._connection.close()
        self._late_bytes = self._late_bytes + len(data) if self._reads_late_body() else 0
        if self._late_bytes > MAX_LATE_BYTES:
            self._close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if not self._awaits_headers():
            self._stop()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.header_seconds, self._close)

    def _awaits_headers(self) -> bool:
        cycle: Any = getattr(self, "cycle", self)  # the default, self, has no response: no limit if uvicorn renames it
        if cycle is not None and not getattr(cycle, "response_complete", False):
            return False
        return getattr(self._connection, "get_protocol", lambda: self)() is self  # no websocket has taken over

    def _reads_headers(self) -> bool:
        """Return False while the rest of an already answered body arrives, so that its sender can read the response."""
        return self._awaits_headers() and not self._reads_late_body()

    def _reads_late_body(self) -> bool:
        cycle: Any = getattr(self, "cycle", None)
        return getattr(cycle, "response_complete", False) and getattr(cycle, "more_body", False)

    def _close(self) -> None:
        if not self._awaits_headers():
            return
        if self._reads_late_body():
            self._close_now()
        else:
            self._connection.close()

    def _close_now(self) -> None:
        """Close without lingering: the client has had its time."""
        getattr(self._connection, "close_now", self._connection.close)()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
