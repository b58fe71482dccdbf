"""What has changed in the database, as one worker learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from management.store import Session, Store

T = TypeVar("T")


class ChangeFeed:
    """Compares the database's change counter with the last one seen, and passes on what is new.

    One look at a time: nothing older is learnt after something newer.
    """

    def __init__(
        self, store: Store, read: Callable[[Session], T], learn: Callable[[T], None], changed: Callable[[], None]
    ) -> None:
        """After a change, ``read`` takes a snapshot, ``learn`` keeps it, and ``changed`` is called."""
        self._store, self._changed = store, changed
        self._read, self._learn = read, learn
        self._looking = asyncio.Lock()
        self._seen = -1
        self._next: asyncio.Future[None] | None = None

    async def refresh(self) -> None:
        """Learns what has changed, if anything has. Raises StoreUnavailable."""
        async with self._looking:
            changes = await self._store.read(lambda session: session.changes())
            if changes == self._seen:
                return
            self._learn(await self._store.read(self._read))
            self._seen = changes
        self._changed()
        if self._next is not None:
            self._next.set_result(None)
            self._next = None

    def next_change(self) -> asyncio.Future[None]:
        """Done when this worker next learns of a change; shared by all who wait."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next
