"""How one worker learns that the database has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from management.store import Session, Store

T = TypeVar("T")


class ChangeFeed:
    """Compares the database's change counter with the last one seen, and passes on what is new.

    Only one refresh runs at a time, so that no older state is learnt after a newer one.
    """

    def __init__(
        self, store: Store, read: Callable[[Session], T], learn: Callable[[T], None], changed: Callable[[], None]
    ) -> None:
        """After a change, ``read`` takes a snapshot, ``learn`` keeps it, and ``changed`` is called."""
        self._store, self._changed = store, changed
        self._read, self._learn = read, learn
        self._refreshing = asyncio.Lock()
        self._seen = -1
        self._next: asyncio.Future[None] | None = None

    async def refresh(self) -> None:
        """Reads and passes on the database's state if it has changed. Raises StoreUnavailable."""
        async with self._refreshing:
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
        """A future that is done when this worker next learns of a change. All callers share it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next
