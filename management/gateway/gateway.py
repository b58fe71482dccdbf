"""The way to every model: calls are admitted, wait for a slot of a replica, and are forwarded to it.

Routes are kept in memory. A call is an inference of the model contract, any request to a model's own address, or a
websocket there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from management.counters import ModelCounters, counting
from management.domain.bento import Bento
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
    PathNotServed,
)
from management.gateway.call import Call, CallOptions, Handshake
from management.gateway.contract import Item, Result
from management.gateway.failover import Attempt, Failover, GatewayHooks, HeldSlot
from management.gateway.open_call import OpenAnswer, OpenSocket
from management.gateway.queue import QueueLimits
from management.gateway.replica_errors import (
    CallInterrupted,
    ConnectionBroken,
    HandshakeRefused,
    ReplicaBusy,
    ReplicaError,
    ReplicaLate,
    ReplicaRefused,
)
from management.gateway.route_table import Route, RouteTable
from management.settings import QueueSettings

MAX_ITEMS_PER_CALL: Final = 32
"""Maximum items in one call to a replica: what every model of the contract takes."""
UPLOAD_SECONDS: Final = 3600.0
"""Seconds after which the body of a call must be there, however steadily its pieces come."""
DESCRIBE_SECONDS: Final = 1.0
"""Seconds that the backend has to say what a model serves."""
BACKEND_RETRY_SECONDS: Final = 5
"""``Retry-After``, in seconds, for a model whose backend does not answer, where nothing better is known."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Gateway:
    """The way to every model's replicas from this process."""

    def __init__(self, settings: QueueSettings, hooks: GatewayHooks, *, workers: int = 1) -> None:
        """``workers`` of the server each have a gateway."""
        self._hooks = hooks
        self._activating: set[asyncio.Task[None]] = set()
        limits = QueueLimits(
            settings.concurrency, settings.queue_size, settings.queue_bytes, settings.ageing_seconds, workers
        )
        self.routes = RouteTable(limits, hooks.headers)
        self._failover = Failover(self.routes, hooks)

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

    async def infer(self, model_id: str, items: Sequence[Item], options: CallOptions) -> list[Result]:
        """Returns a result for each item, in order. Raises ManagementError."""
        parts = [items[start : start + MAX_ITEMS_PER_CALL] for start in range(0, len(items), MAX_ITEMS_PER_CALL)]
        with counting(lambda: self._counters(model_id)):
            async with self._admitted(model_id, options) as (route, _):
                answers = await _gather([self._infer_part(route, part, options) for part in parts])
        return [result for answer in answers for result in answer]

    async def _infer_part(self, route: Route, items: Sequence[Item], options: CallOptions) -> list[Result]:
        attempt = Attempt(lambda client: client.infer(items, options.request_id), may_repeat=True)
        slot, results = await self._call(route, options, attempt)
        slot.release(answered=True)
        return results

    @asynccontextmanager
    async def open(self, model_id: str, call: Call, options: CallOptions) -> AsyncIterator[OpenAnswer]:
        """A replica's answer to the call, once its headers have come. The slot is held until the block ends.

        Raises ManagementError before the block.
        """
        with counting(lambda: self._counters(model_id)) as counted:
            async with self._admitted(model_id, options) as (route, deadline):
                self._check_served(route, call.path)
                sent = call.sent(partial(_extend, deadline, options.seconds, _now() + UPLOAD_SECONDS))
                attempt = Attempt(lambda client: client.open(sent), may_repeat=call.may_repeat)
                slot, answer = await self._call(route, options, attempt)
            counted.begin_answer()
            opened = OpenAnswer(slot, answer)
            try:
                yield opened
            finally:
                opened.close()
                route.last_request_at = time.time()
                counted.failed |= opened.failed

    @asynccontextmanager
    async def connect(self, model_id: str, handshake: Handshake, options: CallOptions) -> AsyncIterator[OpenSocket]:
        """A websocket to a replica. The slot is held until the block ends.

        Raises ManagementError and HandshakeRefused before the block.
        """
        with counting(lambda: self._counters(model_id)) as counted:
            async with self._admitted(model_id, options) as (route, _):
                self._check_served(route, handshake.path)
                attempt = Attempt(lambda client: client.connect(handshake), may_repeat=True)
                slot, socket = await self._call(route, options, attempt)
            counted.begin_answer()
            opened = OpenSocket(slot, socket)
            try:
                yield opened
            finally:
                await opened.close()
                route.last_request_at = time.time()
                counted.failed |= opened.failed

    async def bento(self, model_id: str) -> Bento | None:
        """What the model's Bento serves; None where its files are not known. Raises ManagementError."""
        return await self._describe(await self._find_route(model_id))

    def default_api(self, model_id: str) -> str:
        """The name of the API that the deployment's requests mean; empty where they have to name one."""
        route = self.routes.get(model_id)
        if route is None:
            return ""
        target, serving = route.deployment.target, route.serving  # a changed default makes no new revision
        return (target if target.number == serving.number else serving).config.default_api

    def is_open(self, model_id: str) -> bool:
        """Whether the model's own address requires no key. A model that is not known is not open."""
        route = self.routes.get(model_id)
        return route is not None and not route.deployment.target.config.access_authorization

    def retry_after(self, model_id: str) -> int | None:
        """Seconds until the model likely takes another request; None for a model that is not known."""
        route = self.routes.get(model_id)
        return None if route is None else route.queue.retry_after()

    @asynccontextmanager
    async def _admitted(self, model_id: str, options: CallOptions) -> AsyncIterator[tuple[Route, asyncio.Timeout]]:
        """Ends a call of the model at its deadline."""
        try:
            async with asyncio.timeout(options.seconds) as deadline:
                route = await self._find_route(model_id)
                try:
                    await self._describe(route)
                    yield route, deadline
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

    def _counters(self, model_id: str) -> ModelCounters | None:
        route = self.routes.get(model_id)
        return None if route is None else route.counters

    async def _find_route(self, model_id: str) -> Route:
        route = self.routes.get(model_id)
        if route is None or not (route.queue.replica_ids or route.deployment.may_become_ready):
            await self._failover.refresh()  # another worker may have changed the model a moment ago
            route = self.routes.get(model_id)
        if route is None:
            raise ModelNotFound({"model_id": model_id})
        route.last_request_at = time.time()
        return route

    async def _describe(self, route: Route) -> Bento | None:
        """What the route's Bento serves. A backend that does not answer holds up no call: what was known counts."""
        if not route.is_described(_now()):
            image = route.serving.config.docker_image
            try:
                async with asyncio.timeout(DESCRIBE_SECONDS):
                    bento = await self._hooks.describe(image)
            except (BackendUnavailable, TimeoutError):
                bento = None
            route.describe(image, bento, _now())
        return route.bento

    def _check_served(self, route: Route, path: str) -> None:
        """Raises PathNotServed for a path that would wake the model only to be refused by it."""
        if not route.queue.replica_ids and route.bento is not None and not route.bento.serves(path):
            raise PathNotServed({"model_id": route.model_id})

    async def _call(self, route: Route, options: CallOptions, attempt: Attempt[T]) -> tuple[HeldSlot, T]:
        with _as_answered(route):
            return await self._failover.call(route, options, attempt)

    async def close(self) -> None:
        """Closes every connection."""
        for task in list(self._activating):
            task.cancel()
        await asyncio.gather(*self._activating, return_exceptions=True)
        await self.routes.close()


@contextmanager
def _as_answered(route: Route) -> Iterator[None]:
    """Raises a replica's errors as those that callers are answered with."""
    details = {"model_id": route.model_id}
    try:
        yield
    except HandshakeRefused:
        raise  # it is the model's own answer
    except CallInterrupted:
        raise ModelFailed({**details, "reason": "the connection broke, and the request may not be repeated"}) from None
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


def _extend(deadline: asyncio.Timeout, seconds: float, latest: float) -> None:
    """Let a call, of whose body a piece has just come, end so many seconds from now, but not after ``latest``."""
    if not deadline.expired():
        deadline.reschedule(min(_now() + seconds, latest))


def _now() -> float:
    """The second of the event loop's clock."""
    return asyncio.get_running_loop().time()


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
