"""Inference: admit, wait for a turn, pick a replica, forward, answer. Routes are kept in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from management.errors import (
    InferenceTimeout,
    InsufficientResources,
    ItemRefused,
    ManagementError,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    StoreUnavailable,
)
from management.records import Deployment, Replica
from management.replica_client import (
    ConnectionBroken,
    Item,
    NotConnected,
    ReplicaBusy,
    ReplicaClient,
    ReplicaError,
    ReplicaLate,
    ReplicaRefused,
    Result,
)
from management.routing import Priority
from management.settings import Settings
from management.waiting import Line, LineClosedError, QueueFullError, Rules, Seat

ITEMS_A_CALL: Final = 32
"""Items that one call to a replica has at most: what every model of the contract takes."""
FIRST_START: Final = 5.0
"""Seconds that a model's start is taken to last before one was measured."""
LATEST_RETRY: Final = 60


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """On which a caller asks: how urgently, for how many seconds (waiting included), under which id, how much."""

    priority: Priority
    seconds: float
    request_id: str
    size: int = 0
    """Bytes of the request."""


@dataclass
class _Route:
    """A model's line, and connections to its replicas."""

    model_id: str
    deployment_id: str
    line: Line
    clients: dict[str, ReplicaClient] = field(default_factory=dict)
    start_seconds: float = FIRST_START
    """How long the last replica took to become ready."""

    def not_ready(self) -> ModelNotReady:
        """What a caller is told while nothing is ready: to come again when a start usually is over."""
        return ModelNotReady(
            {"model_id": self.model_id}, retry_after=max(1, min(LATEST_RETRY, ceil(self.start_seconds)))
        )


class Gateway:
    """The way to every model's replicas from this process."""

    def __init__(
        self, settings: Settings, refresh: Callable[[], Awaitable[None]], suspect: Callable[[str], None]
    ) -> None:
        """``refresh`` looks whether there is anything new to ``learn``; a replica that broke off is ``suspect``."""
        self._settings, self._refresh, self._suspect = settings, refresh, suspect
        self._routes: dict[str, _Route] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def learn(self, deployments: Iterable[Deployment], ready: Iterable[Replica]) -> None:
        """Which models there are, and which of their replicas requests may be sent to, from now on."""
        wanted = {one.model_id: one for one in deployments if not one.removal}
        replicas: dict[str, dict[str, Replica]] = {one.id: {} for one in wanted.values()}
        for one in ready:
            if one.deployment_id in replicas:
                replicas[one.deployment_id][one.id] = one
        for model_id in list(self._routes):
            # A new deployment of an old name shares nothing with it: neither replicas nor who waits for them.
            if model_id not in wanted or wanted[model_id].id != self._routes[model_id].deployment_id:
                gone = self._routes.pop(model_id)
                self._seat(gone, {})
                gone.line.close()
        for model_id, deployment in wanted.items():
            route = self._routes.setdefault(model_id, _Route(model_id, deployment.id, self._line()))
            self._seat(route, replicas[deployment.id])
            if not deployment.replicas:
                route.line.close()  # a crash is waited for, a model that was stopped is not

    def _line(self) -> Line:
        kept = self._settings
        return Line(Rules(kept.concurrency, kept.queue_size, kept.queue_bytes, kept.ageing_seconds))

    def _seat(self, route: _Route, replicas: Mapping[str, Replica]) -> None:
        if route.line.replica_ids == replicas.keys():
            return
        for gone in route.clients.keys() - replicas.keys():
            self._close_later(route.clients.pop(gone))
        for new in replicas.keys() - route.clients.keys():
            replica = replicas[new]
            route.clients[new] = ReplicaClient(replica.address)
            if replica.ready_at is not None:
                route.start_seconds = (replica.ready_at - replica.created_at).total_seconds()
        route.line.seat(set(replicas))

    async def infer(self, model_id: str, items: Sequence[Item], terms: Terms) -> list[Result]:
        """A result for each item, in order. Raises ManagementError."""
        parts = [items[start : start + ITEMS_A_CALL] for start in range(0, len(items), ITEMS_A_CALL)]
        try:
            async with asyncio.timeout(terms.seconds):
                route = await self._found(model_id)
                answers = await _together([self._call(route, part, terms) for part in parts])
        except TimeoutError:
            raise InferenceTimeout({"model_id": model_id, "timeout": terms.seconds}) from None
        return [result for answer in answers for result in answer]

    async def _found(self, model_id: str) -> _Route:
        route = self._routes.get(model_id)
        if route is None or not route.line.replica_ids:
            await self._look()  # another worker may have changed it a moment ago
            route = self._routes.get(model_id)
        if route is None:
            raise ModelNotFound({"model_id": model_id})
        return route

    async def _look(self) -> None:
        """Without a database, what was known last is good enough."""
        with suppress(StoreUnavailable):
            await self._refresh()

    async def _call(self, route: _Route, items: Sequence[Item], terms: Terms) -> list[Result]:
        """One call to one replica, with the outcome in the API's terms."""
        about = {"model_id": route.model_id}
        try:
            return await self._answered(route, items, terms)
        except ConnectionBroken:
            raise route.not_ready() from None
        except ReplicaBusy:
            told = {**about, "reason": "the model is busy"}
            raise InsufficientResources(told, retry_after=route.line.retry_after()) from None
        except ReplicaLate:
            raise InferenceTimeout(about) from None
        except ReplicaRefused as refused:
            raise ItemRefused(refused.code, refused.message) from None
        except ReplicaError as error:
            logger.warning("model %s failed: %s", route.model_id, error)
            raise ModelFailed(about) from error

    async def _answered(self, route: _Route, items: Sequence[Item], terms: Terms) -> list[Result]:
        """Where a connection breaks, once more from another replica; where none was made, from one after the other."""
        broken: set[str] = set()
        repeated = False
        while True:
            seat = await self._seated(route, terms, broken)
            try:
                return await self._ask(route, seat, items, terms)
            except ConnectionBroken as error:
                name = seat.replica_id
                logger.warning("model %s: the connection to replica %s broke (%s)", route.model_id, name, error)
                if name in broken or (repeated and not isinstance(error, NotConnected)):
                    raise
                repeated = repeated or not isinstance(error, NotConnected)
                broken.add(name)
                route.line.rest(name)
                self._suspect(name)
                await self._look()  # there may be another one by now

    async def _seated(self, route: _Route, terms: Terms, avoid: Collection[str]) -> Seat:
        if not route.line.replica_ids:
            raise route.not_ready()
        try:
            return await route.line.take(terms.priority, size=terms.size, avoid=avoid)
        except QueueFullError:
            told = {"model_id": route.model_id, "reason": "the queue is full"}
            raise InsufficientResources(told, retry_after=route.line.retry_after()) from None
        except LineClosedError:
            if self._routes.get(route.model_id) is route:
                raise route.not_ready() from None
            raise ModelNotFound({"model_id": route.model_id}) from None

    async def _ask(self, route: _Route, seat: Seat, items: Sequence[Item], terms: Terms) -> list[Result]:
        answered = False
        try:
            client = route.clients.get(seat.replica_id)
            if client is None:  # it left in the moment in which the turn came
                raise NotConnected("the replica left")
            results = await client.infer(items, terms.request_id)
            answered = True
            return results
        finally:
            route.line.leave(seat, answered=answered)

    def _close_later(self, client: ReplicaClient) -> None:
        """When its calls in flight are answered: closing a session breaks them."""
        task = asyncio.create_task(client.close_when_idle())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes every connection."""
        for route in self._routes.values():
            for client in route.clients.values():
                await client.close()
        self._routes.clear()
        for task in list(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)


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
