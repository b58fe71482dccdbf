"""How much memory the requests of a process hold together: bodies, and what is decoded from them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Final

from web.settings import settings

SMALL_BYTES: Final = 256 * 1024
"""Bytes up to which a request may use the reserve."""
RESERVE: Final = 8
"""One part of so many is kept for small requests, so that large ones keep nobody from looking and deleting."""

holding: Final[ContextVar[Callable[[int], None] | None]] = ContextVar("holding", default=None)
"""Takes so many bytes more for the request that the running code works for; the outermost layer makes it."""


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

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more, which are then held."""
        memory = self._memory
        small = self.held + size <= SMALL_BYTES
        room = memory.most if small else memory.most - memory.most // RESERVE
        if memory.taken + size > room:
            return False
        memory.taken += size
        self.held += size
        return True

    def end(self) -> None:
        """Gives everything back."""
        self._memory.taken -= self.held
        self.held = 0


@cache
def of_process() -> Memory:
    """The budget of this process."""
    return Memory(settings().body_memory)


def hold(size: int) -> None:
    """Takes memory for the current request; where there is none, the request ends here, answered with 503."""
    take = holding.get()
    if take is not None:
        take(size)
