"""Inference: admit a request, wait for a slot, pick a replica, forward, answer. Routes are kept in memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from management.backends.launcher import Headers, no_headers
from management.counters import ModelCounters, counting
from management.domain.records import Deployment, Replica
from management.errors import (
    BackendUnavailable,
    InferenceTimeout,
    ItemRefused,
    ManagementError,
    ModelBusy,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    QueueFull,
    StoreUnavailable,
)
from management.gateway.priority import Priority
from management.gateway.queue import QueueClosed, QueueLimits, QueueOverflow, ReplicaSlot
from management.gateway.replica_client import (
    ConnectionBroken,
    Item,
    NotConnected,
    ReplicaBusy,
    ReplicaError,
    ReplicaFailed,
    ReplicaLate,
    ReplicaRefused,
    Result,
)
from management.gateway.route_table import Route, RouteTable
from management.settings import QueueSettings

MAX_ITEMS_PER_CALL: Final = 32
"""Maximum items in one call to a replica: what every model of the contract takes."""

BACKEND_RETRY_SECONDS: Final = 5
"""``Retry-After``, in seconds, for a model whose backend does not answer, where nothing better is known."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferenceOptions:
    """What a caller asks for beside the items."""

    priority: Priority
    seconds: float
    """Seconds until the deadline, waiting included."""
    request_id: str
    size: int = 0
    """Size of the request in bytes."""


@dataclass(frozen=True)
class GatewayHooks:
    """What the gateway leaves to other parts of the management."""

    refresh: Callable[[], Awaitable[None]]
    """Reads the database again, and calls ``learn`` if it has changed."""
    activate: Callable[[str], Awaitable[None]]
    """Starts a model that is scaled to zero; raises ManagementError."""
    probe_now: Callable[[str], None]
    """Has the replica of this id probed at once."""
    record_ejection: Callable[[Deployment, str, str], None]
    """Records that a replica of the deployment is ejected, by its id, and the reason."""
    backend_answers: Callable[[], Awaitable[bool]]
    """Whether the backend, which runs the replicas, answers."""
    headers: Headers = no_headers
    """HTTP headers that a replica needs with each request."""


class Gateway:
    """The way to every model's replicas from this process."""

    def __init__(self, settings: QueueSettings, hooks: GatewayHooks) -> None:
        self._hooks = hooks
        self._activating: set[asyncio.Task[None]] = set()
        limits = QueueLimits(settings.concurrency, settings.queue_size, settings.queue_bytes, settings.ageing_seconds)
        self.routes = RouteTable(limits, hooks.headers)

    def learn(self, deployments: Iterable[Deployment], ready: Iterable[Replica]) -> None:
        """Replaces the known models and their ready replicas, which are all that requests are sent to."""
        self.routes.learn(deployments, ready)
        for route in self.routes:
            # The model was scaled to zero in the moment in which the requests arrived.
            if route.deployment.scaled_to_zero and route.queue.waiting:
                task = asyncio.create_task(self._activate_for_waiting(route))
                self._activating.add(task)
                task.add_done_callback(self._activating.discard)

    async def _activate_for_waiting(self, route: Route) -> None:
        try:
            await self._hooks.activate(route.model_id)
        except ManagementError:
            route.queue.reject_all()

    async def infer(self, model_id: str, items: Sequence[Item], options: InferenceOptions) -> list[Result]:
        """Returns a result for each item, in order. Raises ManagementError."""
        with counting(lambda: self._counters(model_id)):
            return await self._infer_before_deadline(model_id, items, options)

    def _counters(self, model_id: str) -> ModelCounters | None:
        route = self.routes.get(model_id)
        return None if route is None else route.counters

    async def _infer_before_deadline(
        self, model_id: str, items: Sequence[Item], options: InferenceOptions
    ) -> list[Result]:
        parts = [items[start : start + MAX_ITEMS_PER_CALL] for start in range(0, len(items), MAX_ITEMS_PER_CALL)]
        try:
            async with asyncio.timeout(options.seconds):
                route = await self._find_route(model_id)
                try:
                    answers = await _gather([self._translate_errors(route, part, options) for part in parts])
                finally:
                    route.last_request_at = time.time()  # the model was in use until now
        except TimeoutError:
            raise InferenceTimeout({"model_id": model_id, "timeout": options.seconds}) from None
        except ModelNotReady as error:
            if await self._hooks.backend_answers():
                raise
            raise BackendUnavailable(
                {"model_id": model_id}, retry_after=error.retry_after or BACKEND_RETRY_SECONDS
            ) from None
        return [result for answer in answers for result in answer]

    async def _find_route(self, model_id: str) -> Route:
        route = self.routes.get(model_id)
        if route is None or not (route.queue.replica_ids or route.deployment.may_become_ready):
            await self._refresh()  # another worker may have changed the model a moment ago
            route = self.routes.get(model_id)
        if route is None:
            raise ModelNotFound({"model_id": model_id})
        route.last_request_at = time.time()
        return route

    async def _refresh(self) -> None:
        """Reads the database again. While it is unavailable, what was known last is good enough."""
        with suppress(StoreUnavailable):
            await self._hooks.refresh()

    async def _translate_errors(self, route: Route, items: Sequence[Item], options: InferenceOptions) -> list[Result]:
        """Infers one part of the items, and raises the replica's errors as those of the API."""
        details = {"model_id": route.model_id}
        try:
            return await self._infer_with_failover(route, items, options)
        except ConnectionBroken:
            raise route.not_ready() from None
        except ReplicaBusy:
            busy = {**details, "reason": "the model is busy"}
            raise ModelBusy(busy, retry_after=route.queue.retry_after()) from None
        except ReplicaLate:
            raise InferenceTimeout(details) from None
        except ReplicaRefused as refused:
            raise ItemRefused(refused.code, refused.message) from None
        except ReplicaError as error:
            logger.warning("model %s failed: %s", route.model_id, error)
            raise ModelFailed(details) from error

    async def _infer_with_failover(
        self, route: Route, items: Sequence[Item], options: InferenceOptions
    ) -> list[Result]:
        """Tries another replica once where a connection breaks, and all others while no connection is made.

        Whatever ended one replica may have ended others in the same moment, and their sockets may still take
        connections. The second replica therefore has to answer a probe first.
        """
        broken: set[str] = set()
        dead: set[str] = set()
        repeated = False
        while True:
            queued_at = time.perf_counter()
            slot = await self._acquire_slot(route, options, broken, dead)
            route.counters.queued.add(time.perf_counter() - queued_at)
            try:
                return await self._forward(route, slot, items, options, probe_first=repeated)
            except ConnectionBroken as error:
                name = slot.replica_id
                logger.warning("model %s: the connection to replica %s broke (%s)", route.model_id, name, error)
                if isinstance(error, NotConnected):  # nothing listens there: wait for its successor
                    dead.add(name)
                elif repeated:
                    raise
                else:
                    repeated = True
                broken.add(name)
                self._record_failure(route, name, str(error))
                route.queue.eject(name)
                self._hooks.probe_now(name)
                await self._refresh()  # there may be another replica by now
                if broken.issuperset(route.queue.replica_ids) and not await self._hooks.backend_answers():
                    raise route.not_ready() from error  # and none can be started

    async def _acquire_slot(
        self, route: Route, options: InferenceOptions, avoid: Collection[str], never: Collection[str]
    ) -> ReplicaSlot:
        if not route.queue.replica_ids:
            if not route.deployment.may_become_ready:
                raise route.not_ready()
            if route.deployment.scaled_to_zero:
                await self._hooks.activate(route.model_id)
                if not route.deployment.may_become_ready:  # it was stopped meanwhile
                    raise route.not_ready()
        try:
            return await route.queue.acquire(options.priority, size=options.size, avoid=avoid, never=never)
        except QueueOverflow:
            full = {"model_id": route.model_id, "reason": "the queue is full"}
            raise QueueFull(full, retry_after=route.queue.retry_after()) from None
        except QueueClosed:
            if self.routes.get(route.model_id) is route:
                raise route.not_ready() from None
            raise ModelNotFound({"model_id": route.model_id}) from None

    async def _forward(
        self, route: Route, slot: ReplicaSlot, items: Sequence[Item], options: InferenceOptions, *, probe_first: bool
    ) -> list[Result]:
        answered = False
        try:
            client = route.clients.get(slot.replica_id)
            if client is None:  # it ended in the moment in which the slot was acquired
                raise NotConnected("the replica has ended")
            if probe_first:
                await client.check_alive()
            results = await client.infer(items, options.request_id)
            answered = True
            return results
        except (ReplicaFailed, ReplicaLate) as error:
            self._record_failure(route, slot.replica_id, str(error))
            raise
        except ReplicaRefused:
            slot.failures = 0  # the replica works: the request is at fault
            raise
        finally:
            route.queue.release(slot, answered=answered)

    def _record_failure(self, route: Route, replica_id: str, reason: str) -> None:
        """Counts a failure. Where it ejects the replica, has it probed and the ejection recorded."""
        if route.queue.record_failure(replica_id):
            logger.warning("model %s: replica %s keeps failing: %s", route.model_id, replica_id, reason)
            self._hooks.probe_now(replica_id)
            self._hooks.record_ejection(route.deployment, replica_id, reason)

    async def close(self) -> None:
        """Closes every connection."""
        for task in list(self._activating):
            task.cancel()
        await asyncio.gather(*self._activating, return_exceptions=True)
        await self.routes.close()


async def _gather(calls: Sequence[Coroutine[Any, Any, list[Result]]]) -> list[list[Result]]:
    """All results, or the first error; then the other calls are cancelled."""
    if len(calls) == 1:
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* ManagementError as errors:
        raise _first_error(errors) from None
    return [task.result() for task in tasks]


def _first_error(errors: BaseExceptionGroup[ManagementError]) -> ManagementError:
    first = errors.exceptions[0]
    return _first_error(first) if isinstance(first, BaseExceptionGroup) else first
