"""Closes connections whose caller does not read what it is sent: uvicorn waits for ever for room to write.

The deadline is on progress: as long as any of an answer reaches the caller's system now and then, it goes on.
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
    """Stands before uvicorn's class, which sees a transport that is watched while it holds anything back."""

    write_seconds: ClassVar[float]
    _watched: Watched | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Puts the one transport in front of the other."""
        self._watched = Watched(cast("asyncio.Transport", transport), self.write_seconds)
        super().connection_made(cast("asyncio.BaseTransport", self._watched))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops to watch."""
        if self._watched is not None:
            self._watched.stop()
        super().connection_lost(exc)


class Watched:
    """A transport that ends when its caller takes nothing for too long."""

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport, self._seconds = transport, seconds
        self._written = self._read = 0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends the data; what the system does not take is watched."""
        self._written += len(data)
        self._transport.write(data)
        if self._timer is None and self._transport.get_write_buffer_size():
            self._read = self._arrived()
            self._wait()

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        read, self._read = self._read, self._arrived()
        if self._read > read:
            self._wait()
        else:
            self._transport.abort()

    def _arrived(self) -> int:
        """Bytes that have reached the caller's system; its own buffers move in steps, so that this one counts, too."""
        return self._written - self._transport.get_write_buffer_size() - self._queued()

    def _queued(self) -> int:
        """Bytes that this machine's system holds for the caller."""
        found = self._transport.get_extra_info("socket")
        if ioctl is None or found is None:
            return 0
        held = bytearray(4)
        with suppress(OSError, ValueError):
            ioctl(found.fileno(), TIOCOUTQ, held)
        (size,) = struct.unpack("i", held)
        return int(size)
