"""A call's way to a replica: a slot, and another replica where one has died. Written once for every kind of call."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from management.backends.launcher import Headers, no_headers
from management.domain.bento import Bento
from management.domain.records import Deployment
from management.errors import ModelNotFound, QueueFull, StoreUnavailable
from management.gateway.call import CallOptions
from management.gateway.queue import QueueClosed, QueueOverflow, ReplicaSlot
from management.gateway.replica_client import ReplicaClient
from management.gateway.replica_errors import (
    CallInterrupted,
    ConnectionBroken,
    NotConnected,
    ReplicaFailed,
    ReplicaLate,
    ReplicaRefused,
)
from management.gateway.route_table import Route, RouteTable
from web.tracing import spans
from web.tracing.tracer import Kind, Value

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def _no_description(_: str) -> Bento | None:
    return None


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
    describe: Callable[[str], Awaitable[Bento | None]] = _no_description
    """Returns the Bento in an image; None where its files are not known. Raises BackendUnavailable."""


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """How a call is made of one replica."""

    make: Callable[[ReplicaClient], Awaitable[T]]
    """Makes it. Raises ReplicaError."""
    may_repeat: bool
    """Whether it may be made again although a replica may have processed it."""


class HeldSlot:
    """A slot that is held for one call until ``release``."""

    def __init__(self, failover: Failover, route: Route, slot: ReplicaSlot, client: ReplicaClient | None) -> None:
        self._failover, self._slot = failover, slot
        self.route, self.client = route, client
        self.queued = 0.0
        """Seconds for which the call waited for it."""
        self._released = False

    @property
    def replica_id(self) -> str:
        """The id of its replica."""
        return self._slot.replica_id

    def release(self, *, answered: bool) -> None:
        """Give the slot to the next call; a second release does nothing."""
        if not self._released:
            self._released = True
            self.route.queue.release(self._slot, answered=answered)

    def forget_failures(self) -> None:
        """Count the replica as working: the request was at fault."""
        self._slot.failures = 0

    def record_failure(self, reason: str) -> None:
        """Count a failure of the replica."""
        self._failover.record_failure(self.route, self.replica_id, reason)

    def record_break(self, reason: str) -> None:
        """Count a broken connection: the replica is avoided until a probe has shown that it lives."""
        self.record_failure(reason)
        self._failover.avoid(self.route, self.replica_id)


class Failover:
    """Makes calls: another replica once where a connection breaks, and all others while no connection is made.

    Whatever ended one replica may have ended others in the same moment, and their sockets may still take connections.
    The second replica therefore has to answer a probe first.
    """

    def __init__(self, routes: RouteTable, hooks: GatewayHooks) -> None:
        self._routes, self._hooks = routes, hooks

    async def call(self, route: Route, options: CallOptions, attempt: Attempt[T]) -> tuple[HeldSlot, T]:
        """Return the result of an attempt that succeeded, and its slot, which the caller releases.

        Raises ReplicaError and ManagementError.
        """
        broken: set[str] = set()
        dead: set[str] = set()
        repeated = False
        while True:
            slot = await self._hold(route, options, broken, dead)
            try:
                return slot, await self._make(slot, attempt, probe_first=repeated)
            except ConnectionBroken as error:
                name = slot.replica_id
                logger.warning("model %s: the connection to replica %s broke (%s)", route.model_id, name, error)
                sent = not isinstance(error, NotConnected)
                broken.add(name)
                if not sent:  # nothing listens there: wait for its successor
                    dead.add(name)
                slot.record_break(str(error))
                if sent and not attempt.may_repeat:
                    raise CallInterrupted(str(error)) from error
                if sent and repeated:
                    raise
                repeated |= sent
                await self.refresh()  # there may be another replica by now
                if broken.issuperset(route.queue.replica_ids) and not await self._hooks.backend_answers():
                    raise route.not_ready() from error  # and none can be started

    async def _hold(
        self, route: Route, options: CallOptions, avoid: Collection[str], never: Collection[str]
    ) -> HeldSlot:
        queued_at = time.perf_counter()
        with spans.span("queue", attributes={"atelier.model_id": route.model_id}):
            slot = await self._acquire_slot(route, options, avoid, never)
        held = HeldSlot(self, route, slot, route.clients.get(slot.replica_id))
        held.queued = time.perf_counter() - queued_at
        route.counters.queued.add(held.queued)
        return held

    async def _acquire_slot(
        self, route: Route, options: CallOptions, avoid: Collection[str], never: Collection[str]
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
            if self._routes.get(route.model_id) is route:
                raise route.not_ready() from None
            raise ModelNotFound({"model_id": route.model_id}) from None

    async def _make(self, slot: HeldSlot, attempt: Attempt[T], *, probe_first: bool) -> T:
        """Make the attempt. Where it fails, the slot is released."""
        try:
            if slot.client is None:  # it ended in the moment in which the slot was acquired
                raise NotConnected("the replica has ended")
            if probe_first:
                await slot.client.check_alive()
            with spans.span("replica", Kind.CLIENT, _of_replica(slot)):
                return await attempt.make(slot.client)
        except (ReplicaFailed, ReplicaLate) as error:
            slot.record_failure(str(error))
            slot.release(answered=False)
            raise
        except ReplicaRefused:
            slot.forget_failures()
            slot.release(answered=False)
            raise
        except BaseException:
            slot.release(answered=False)
            raise

    def record_failure(self, route: Route, replica_id: str, reason: str) -> None:
        """Count a failure. Where it ejects the replica, have it probed and the ejection recorded."""
        if route.queue.record_failure(replica_id):
            logger.warning("model %s: replica %s keeps failing: %s", route.model_id, replica_id, reason)
            self._hooks.probe_now(replica_id)
            self._hooks.record_ejection(route.deployment, replica_id, reason)

    def avoid(self, route: Route, replica_id: str) -> None:
        """Send requests to other replicas until a probe has shown that this one lives."""
        route.queue.eject(replica_id)
        self._hooks.probe_now(replica_id)

    async def refresh(self) -> None:
        """Read the database again. While it is unavailable, what was known last is good enough."""
        with suppress(StoreUnavailable):
            await self._hooks.refresh()


def _of_replica(slot: HeldSlot) -> dict[str, Value]:
    """Return the attributes of a call's span."""
    return {
        "atelier.model_id": slot.route.model_id,
        "atelier.replica_id": slot.replica_id,
        "atelier.revision": 0 if slot.client is None else slot.client.revision,
    }
