"""Closes connections whose client does not read the response; uvicorn waits forever for room to write.

The deadline is on progress: a response continues as long as some of it reaches the client's system in each interval.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import Any, ClassVar, cast

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]


class WriteDeadline(asyncio.Protocol):
    """Comes before uvicorn's class, which sees a transport that is watched while its buffer holds data."""

    write_seconds: ClassVar[float]
    _watched: Watched | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wrap the transport in a watched one."""
        self._watched = Watched(cast("asyncio.Transport", transport), self.write_seconds)
        super().connection_made(cast("asyncio.BaseTransport", self._watched))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        if self._watched is not None:
            self._watched.stop()
        super().connection_lost(exc)


class Watched:
    """A transport that aborts when its client receives nothing for ``seconds``."""

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport, self._seconds = transport, seconds
        self._written = self._read = 0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        """Delegate every other attribute to the transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, and start the deadline if the system does not accept all of it."""
        self._written += len(data)
        self._transport.write(data)
        if self._timer is None and self._transport.get_write_buffer_size():
            self._read = self._arrived()
            self._start_timer()

    def stop(self) -> None:
        """Cancel the deadline of a closed connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._check_progress)

    def _check_progress(self) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        read, self._read = self._read, self._arrived()
        if self._read > read:
            self._start_timer()
        else:
            self._transport.abort()

    def _arrived(self) -> int:
        """Return the bytes that have reached the client's system, without those in this system's send queue."""
        return self._written - self._transport.get_write_buffer_size() - self._queued()

    def _queued(self) -> int:
        """Return the bytes in this system's send queue, 0 if it cannot be read."""
        connection = self._transport.get_extra_info("socket")
        if ioctl is None or connection is None:
            return 0
        held = bytearray(4)
        with suppress(OSError, ValueError):
            ioctl(connection.fileno(), TIOCOUTQ, held)
        (size,) = struct.unpack("i", held)
        return int(size)
