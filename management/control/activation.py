"""What requests for inference set going beside themselves: a model is woken up, an ejected replica is made known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import ceil

from management.control.commands import (
    Wishes,
)
from management.control.eviction import WARM_SECONDS
from management.domain.clock import now
from management.domain.records import (
    GATEWAY,
    Deployment,
    Event,
)
from management.errors import InsufficientResources, StoreUnavailable
from management.store import Store

logger = logging.getLogger(__name__)


class Errands:
    """Of one worker's gateway."""

    def __init__(self, store: Store, wishes: Wishes, changed: Callable[[], Awaitable[None]]) -> None:
        """``changed`` is called after a wish was changed."""
        self._store, self._wishes, self._changed = store, wishes, changed
        self._waking: dict[str, asyncio.Task[None]] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def awaken(self, model_id: str) -> None:
        """Has it started, once for all who ask at the same time. Raises ManagementError."""
        task = self._waking.get(model_id)
        if task is None:
            task = self._waking[model_id] = asyncio.create_task(self._awaken(model_id))
            task.add_done_callback(lambda _: self._waking.pop(model_id))
        await asyncio.shield(task)  # who leaves takes it from nobody else

    async def _awaken(self, model_id: str) -> None:
        try:
            await self._store.write(lambda session: self._wishes.wake(session, model_id))
        except InsufficientResources:
            told = {"model_id": model_id, "reason": "there is no room to start the model"}
            raise InsufficientResources(told, retry_after=ceil(WARM_SECONDS)) from None
        await self._changed()

    def eject(self, deployment: Deployment, replica_id: str, reason: str) -> None:
        """Notes it as an event, some time soon."""
        told = {"replica_id": replica_id, "reason": reason}
        event = Event(now(), deployment.model_id, deployment.id, GATEWAY, "replica_ejected", told)
        task = asyncio.create_task(self._note(event))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, event: Event) -> None:
        try:
            await self._store.write(lambda session: session.events.add(event), counted=False)
        except StoreUnavailable:
            logger.warning("model %s: that a replica was ejected is not among its events", event.model_id)

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = [*self._waking.values(), *self._noting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
