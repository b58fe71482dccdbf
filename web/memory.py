"""How much memory the requests of a process hold together: bodies, and what is decoded from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, Final, TypeVar

from web.settings import settings

SMALL_BYTES: Final = 256 * 1024
"""Bytes up to which a request may use the reserve."""
RESERVE: Final = 8
"""One part of so many is kept for small requests, so that large ones keep nobody from looking and deleting."""

holding: Final[ContextVar[Callable[[int], None] | None]] = ContextVar("holding", default=None)
"""Takes so many bytes more for the request that the running code works for; the outermost layer makes it."""


leased: Final[ContextVar[Lease | None]] = ContextVar("leased", default=None)
"""The lease of the request that the running code works for."""

T = TypeVar("T")


class Memory:
    """A budget of bytes that requests share."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def lease(self) -> Lease:
        """What one request holds: nothing yet."""
        return Lease(self)


class Lease:
    """What one request holds of the budget."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0
        self._threads = 0
        self._is_over = False

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more, which are then held."""
        if self._is_over:
            return False
        memory = self._memory
        small = self.held + size <= SMALL_BYTES
        room = memory.most if small else memory.most - memory.most // RESERVE
        if memory.taken + size > room:
            return False
        memory.taken += size
        self.held += size
        return True

    def end(self) -> None:
        """Give everything back, at once or when the request's last thread is done: a thread cannot be cancelled."""
        self._is_over = True
        if not self._threads:
            self._memory.taken -= self.held
            self.held = 0

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread. A request that is cancelled meanwhile holds its memory until it returns."""
        work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        self._threads += 1
        work.add_done_callback(self._thread_ended)
        return await asyncio.shield(work)

    def _thread_ended(self, work: asyncio.Future[Any]) -> None:
        self._threads -= 1
        if not work.cancelled():
            work.exception()  # retrieved: asyncio would report it where the request has gone
        if self._is_over:
            self.end()


@cache
def of_process() -> Memory:
    """The budget of this process."""
    return Memory(settings().body_memory)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a thread for the current request, whose memory is held until it returns."""
    lease = leased.get()
    if lease is None:
        return await asyncio.to_thread(function, *arguments)
    return await lease.in_thread(function, *arguments)


def hold(size: int) -> None:
    """Takes memory for the current request; where there is none, the request ends here, answered with 503."""
    take = holding.get()
    if take is not None:
        take(size)
