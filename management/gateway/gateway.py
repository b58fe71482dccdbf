"""Inference: admit, wait for a turn, pick a replica, forward, answer. Routes are kept in memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from management.backends.base import (
    Headers,
    no_headers,
)
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
from management.gateway.balancing import Priority
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
from management.gateway.route_table import (
    Route,
    RouteTable,
)
from management.settings import Settings

ITEMS_A_CALL: Final = 32
"""Items that one call to a replica has at most: what every model of the contract takes."""

RETRY_SECONDS: Final = 5
"""Seconds after which to ask again for a model whose backend is away, where nothing better is known."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferenceOptions:
    """On which a caller asks: how urgently, for how many seconds (waiting included), under which id, how much."""

    priority: Priority
    seconds: float
    request_id: str
    size: int = 0
    """Bytes of the request."""


@dataclass(frozen=True)
class GatewayHooks:
    """What the gateway has others do."""

    refresh: Callable[[], Awaitable[None]]
    """Looks whether there is anything new to ``learn``."""
    activate: Callable[[str], Awaitable[None]]
    """Has a model started that was ended because nobody asked for it; raises ManagementError."""
    probe_now: Callable[[str], None]
    """This replica is to be looked at."""
    record_ejection: Callable[[Deployment, str, str], None]
    """A replica of this deployment is not asked for a while, and why."""
    backend_answers: Callable[[], Awaitable[bool]]
    """Whether what runs the replicas can be asked for anything."""
    headers: Headers = no_headers
    """What a replica at this address wants with each request, beside what it is asked."""


class Gateway:
    """The way to every model's replicas from this process."""

    def __init__(self, settings: Settings, calls: GatewayHooks) -> None:
        """``calls`` are what the gateway has others do."""
        self._do = calls
        self._waking: set[asyncio.Task[None]] = set()
        rules = QueueLimits(settings.concurrency, settings.queue_size, settings.queue_bytes, settings.ageing_seconds)
        self.routes = RouteTable(rules, calls.headers)

    def learn(self, deployments: Iterable[Deployment], ready: Iterable[Replica]) -> None:
        """Which models there are, and which of their replicas requests may be sent to, from now on."""
        self.routes.learn(deployments, ready)
        for route in self.routes:
            if (
                route.deployment.scaled_to_zero and route.queue.waiting
            ):  # it was ended in the moment in which they asked
                task = asyncio.create_task(self._wake_for_all(route))
                self._waking.add(task)
                task.add_done_callback(self._waking.discard)

    async def _wake_for_all(self, route: Route) -> None:
        try:
            await self._do.activate(route.model_id)
        except ManagementError:
            route.queue.reject_all()

    async def infer(self, model_id: str, items: Sequence[Item], terms: InferenceOptions) -> list[Result]:
        """A result for each item, in order. Raises ManagementError."""
        with counting(lambda: self._tally(model_id)):
            return await self._infer(model_id, items, terms)

    def _tally(self, model_id: str) -> ModelCounters | None:
        route = self.routes.get(model_id)
        return None if route is None else route.counters

    async def _infer(self, model_id: str, items: Sequence[Item], terms: InferenceOptions) -> list[Result]:
        parts = [items[start : start + ITEMS_A_CALL] for start in range(0, len(items), ITEMS_A_CALL)]
        try:
            async with asyncio.timeout(terms.seconds):
                route = await self._found(model_id)
                try:
                    answers = await _together([self._call(route, part, terms) for part in parts])
                finally:
                    route.last_request_at = time.time()  # it was in use until now
        except TimeoutError:
            raise InferenceTimeout({"model_id": model_id, "timeout": terms.seconds}) from None
        except ModelNotReady as error:
            if await self._do.backend_answers():
                raise
            raise BackendUnavailable({"model_id": model_id}, retry_after=error.retry_after or RETRY_SECONDS) from None
        return [result for answer in answers for result in answer]

    async def _found(self, model_id: str) -> Route:
        route = self.routes.get(model_id)
        if route is None or not (route.queue.replica_ids or route.deployment.may_become_ready):
            await self._look()  # another worker may have changed it a moment ago
            route = self.routes.get(model_id)
        if route is None:
            raise ModelNotFound({"model_id": model_id})
        route.last_request_at = time.time()
        return route

    async def _look(self) -> None:
        """Without a database, what was known last is good enough."""
        with suppress(StoreUnavailable):
            await self._do.refresh()

    async def _call(self, route: Route, items: Sequence[Item], terms: InferenceOptions) -> list[Result]:
        """One call to one replica, with the outcome in the API's terms."""
        about = {"model_id": route.model_id}
        try:
            return await self._answered(route, items, terms)
        except ConnectionBroken:
            raise route.not_ready() from None
        except ReplicaBusy:
            told = {**about, "reason": "the model is busy"}
            raise ModelBusy(told, retry_after=route.queue.retry_after()) from None
        except ReplicaLate:
            raise InferenceTimeout(about) from None
        except ReplicaRefused as refused:
            raise ItemRefused(refused.code, refused.message) from None
        except ReplicaError as error:
            logger.warning("model %s failed: %s", route.model_id, error)
            raise ModelFailed(about) from error

    async def _answered(self, route: Route, items: Sequence[Item], terms: InferenceOptions) -> list[Result]:
        """Where a connection breaks, once more from another replica; where none was made, from one after the other.

        What ended one may have ended others in the same moment, whose system still takes connections: the second one
        has to give a sign of life first.
        """
        broken: set[str] = set()
        dead: set[str] = set()
        repeated = False
        while True:
            asked = time.perf_counter()
            seat = await self._seated(route, terms, broken, dead)
            route.counters.queued.add(time.perf_counter() - asked)
            try:
                return await self._ask(route, seat, items, terms, warily=repeated)
            except ConnectionBroken as error:
                name = seat.replica_id
                logger.warning("model %s: the connection to replica %s broke (%s)", route.model_id, name, error)
                if isinstance(error, NotConnected):  # nobody is there: its successor is waited for
                    dead.add(name)
                elif repeated:
                    raise
                else:
                    repeated = True
                broken.add(name)
                self._record_failure(route, name, str(error))
                route.queue.eject(name)
                self._do.probe_now(name)
                await self._look()  # there may be another one by now
                if broken.issuperset(route.queue.replica_ids) and not await self._do.backend_answers():
                    raise route.not_ready() from error  # and nobody can start one

    async def _seated(
        self, route: Route, terms: InferenceOptions, avoid: Collection[str], never: Collection[str]
    ) -> ReplicaSlot:
        if not route.queue.replica_ids:
            if not route.deployment.may_become_ready:
                raise route.not_ready()
            if route.deployment.scaled_to_zero:
                await self._do.activate(route.model_id)
                if not route.deployment.may_become_ready:  # somebody stopped it meanwhile
                    raise route.not_ready()
        try:
            return await route.queue.acquire(terms.priority, size=terms.size, avoid=avoid, never=never)
        except QueueOverflow:
            told = {"model_id": route.model_id, "reason": "the queue is full"}
            raise QueueFull(told, retry_after=route.queue.retry_after()) from None
        except QueueClosed:
            if self.routes.get(route.model_id) is route:
                raise route.not_ready() from None
            raise ModelNotFound({"model_id": route.model_id}) from None

    async def _ask(
        self, route: Route, seat: ReplicaSlot, items: Sequence[Item], terms: InferenceOptions, *, warily: bool
    ) -> list[Result]:
        answered = False
        try:
            client = route.clients.get(seat.replica_id)
            if client is None:  # it left in the moment in which the turn came
                raise NotConnected("the replica left")
            if warily:
                await client.meet()
            results = await client.infer(items, terms.request_id)
            answered = True
            return results
        except (ReplicaFailed, ReplicaLate) as error:
            self._record_failure(route, seat.replica_id, str(error))
            raise
        except ReplicaRefused:
            seat.failures = 0  # it works: the request is at fault
            raise
        finally:
            route.queue.release(seat, answered=answered)

    def _record_failure(self, route: Route, replica_id: str, reason: str) -> None:
        """One that fails again and again is not asked for a while, and somebody should know."""
        if route.queue.record_failure(replica_id):
            logger.warning("model %s: replica %s fails again and again: %s", route.model_id, replica_id, reason)
            self._do.probe_now(replica_id)
            self._do.record_ejection(route.deployment, replica_id, reason)

    async def close(self) -> None:
        """Closes every connection."""
        for task in list(self._waking):
            task.cancel()
        await asyncio.gather(*self._waking, return_exceptions=True)
        await self.routes.close()


async def _together(calls: Sequence[Coroutine[Any, Any, list[Result]]]) -> list[list[Result]]:
    """All results, or the first error; then the other calls are cancelled."""
    if len(calls) == 1:
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* ManagementError as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(errors: BaseExceptionGroup[ManagementError]) -> ManagementError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
