"""Side effects of inference requests: a scaled-to-zero model is activated, the ejection of a replica is recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import ceil

from management.control.commands import DeploymentCommands
from management.control.eviction import EVICTION_GRACE_SECONDS
from management.domain.clock import now
from management.domain.records import GATEWAY, Deployment, Event
from management.errors import InsufficientResources, StoreUnavailable
from management.store import Store

logger = logging.getLogger(__name__)


class Activator:
    """Activates models and records ejections for the gateway of one worker."""

    def __init__(self, store: Store, commands: DeploymentCommands, changed: Callable[[], Awaitable[None]]) -> None:
        """``changed`` is called after the desired state was changed."""
        self._store, self._commands, self._changed = store, commands, changed
        self._activating: dict[str, asyncio.Task[None]] = {}
        self._recording: set[asyncio.Task[None]] = set()

    async def activate(self, model_id: str) -> None:
        """Starts the model, once for all requests that arrive at the same time. Raises ManagementError."""
        task = self._activating.get(model_id)
        if task is None:
            task = self._activating[model_id] = asyncio.create_task(self._activate(model_id))
            task.add_done_callback(lambda _: self._activating.pop(model_id))
        await asyncio.shield(task)  # a cancelled request must not cancel it for others

    async def _activate(self, model_id: str) -> None:
        try:
            await self._store.write(lambda session: self._commands.activate(session, model_id))
        except InsufficientResources:
            details = {"model_id": model_id, "reason": "there is no room to start the model"}
            raise InsufficientResources(details, retry_after=ceil(EVICTION_GRACE_SECONDS)) from None
        await self._changed()

    def record_ejection(self, deployment: Deployment, replica_id: str, reason: str) -> None:
        """Records the ejection as an event, in the background."""
        details = {"replica_id": replica_id, "reason": reason}
        event = Event(now(), deployment.model_id, deployment.id, GATEWAY, "replica_ejected", details)
        task = asyncio.create_task(self._record(event))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _record(self, event: Event) -> None:
        try:
            await self._store.write(lambda session: session.events.add(event), counted=False)
        except StoreUnavailable:
            logger.warning("model %s: the ejection of a replica could not be recorded as an event", event.model_id)

    async def close(self) -> None:
        """Cancels what is under way."""
        tasks = [*self._activating.values(), *self._recording]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
