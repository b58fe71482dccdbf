"""The memory that all requests of a process hold together: their bodies and the values decoded from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, Final, TypeVar

from web.settings import settings

SMALL_REQUEST_BYTES: Final = 256 * 1024
"""Bytes up to which a request may use the reserve for small requests."""
RESERVE_DIVISOR: Final = 8
"""Denominator of the share that is reserved for small requests, so that large ones never block reads and deletes."""

holding: Final[ContextVar[Callable[[int], None] | None]] = ContextVar("holding", default=None)
"""Function that charges bytes to the current request; the outermost layer sets it."""


leased: Final[ContextVar[Lease | None]] = ContextVar("leased", default=None)
"""The lease of the current request."""

T = TypeVar("T")


class Memory:
    """A budget of ``limit`` bytes that requests share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def lease(self) -> Lease:
        """Return an empty lease for one request."""
        return Lease(self)


class Lease:
    """One request's share of the budget."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0
        self._threads = 0
        self._is_over = False

    def take(self, size: int) -> bool:
        """Take ``size`` more bytes and return True, or return False if they do not fit."""
        if self._is_over:
            return False
        memory = self._memory
        small = self.held + size <= SMALL_REQUEST_BYTES
        room = memory.limit if small else memory.limit - memory.limit // RESERVE_DIVISOR
        if memory.taken + size > room:
            return False
        memory.taken += size
        self.held += size
        return True

    def end(self) -> None:
        """Return all bytes, at once or after the request's last thread, because a thread cannot be cancelled."""
        self._is_over = True
        if not self._threads:
            self._memory.taken -= self.held
            self.held = 0

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread. A cancelled request holds its memory until the function returns."""
        work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        self._threads += 1
        work.add_done_callback(self._thread_ended)
        return await asyncio.shield(work)

    def _thread_ended(self, work: asyncio.Future[Any]) -> None:
        self._threads -= 1
        if not work.cancelled():
            work.exception()  # retrieved, so that asyncio does not report it after the request has ended
        if self._is_over:
            self.end()


@cache
def of_process() -> Memory:
    """Return the one budget of this process, ``body_memory`` bytes."""
    return Memory(settings().body_memory)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a thread; the current request holds its memory until the function returns."""
    lease = leased.get()
    if lease is None:
        return await asyncio.to_thread(function, *arguments)
    return await lease.in_thread(function, *arguments)


def hold(size: int) -> None:
    """Charge bytes to the current request. If they do not fit, the request ends here with 503."""
    take = holding.get()
    if take is not None:
        take(size)
