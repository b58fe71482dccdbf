"""Closes connections whose request headers do not arrive in time, or never end: uvicorn has no option for either.

What is read of uvicorn's HTTP protocol class is ``cycle``, the request in work: None, or an object that says when its
response is complete, and whether more of its body is to come. Should a later uvicorn rename any of them, connections
simply have no such limit.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

HEADER_BYTES: Final = 64 * 1024
"""Of headers that have not ended; h11 has the same limit, httptools has none and copies them with each piece."""

LATE_BYTES: Final = 128 * 1024 * 1024
"""Of a body that was answered before its end: twice the largest one that is read."""


class HeaderDeadline(asyncio.Protocol):
    """Stands before uvicorn's class; counts from the connection, then from each next request's first byte."""

    header_seconds: ClassVar[float]
    _connection: asyncio.BaseTransport
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _late_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts to count."""
        super().connection_made(transport)
        self._connection = transport
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Counts while no request is in work: also what is left of a body that was answered before its end."""
        super().data_received(data)
        self._watch()
        self._header_bytes = self._header_bytes + len(data) if self._reads_headers() else 0
        if self._header_bytes > HEADER_BYTES:
            self._connection.close()
        self._late_bytes = self._late_bytes + len(data) if self._reads_late_body() else 0
        if self._late_bytes > LATE_BYTES:
            self._close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops to count."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if not self._awaits_headers():
            self._stop()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.header_seconds, self._close)

    def _awaits_headers(self) -> bool:
        cycle: Any = getattr(self, "cycle", self)  # self, which has no response, where uvicorn has no such name
        upgraded = getattr(self._connection, "get_protocol", lambda: self)() is not self
        return not upgraded and (cycle is None or getattr(cycle, "response_complete", False))

    def _reads_headers(self) -> bool:
        """Not so while the rest of a body comes that was answered before its end: its sender shall see the answer."""
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
        """Without waiting for what still comes: it has had its time."""
        getattr(self._connection, "close_now", self._connection.close)()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
