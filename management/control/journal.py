"""What the supervisor, or the reconciler, writes down.

Every write holds only while the lease does, in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar
from uuid import uuid4

from management.control import eviction
from management.control.demand import (
    Wanted,
    added_up,
)
from management.control.evaluation import (
    Settled,
)
from management.counters import ReplicaTally, Scaling
from management.domain.capacity import Capacity, free_gpus
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Demand, Deployment, Event, Replica, ReplicaState
from management.errors import StoreUnavailable
from management.store import Session, Store

T = TypeVar("T")

ACTOR: Final = "supervisor"
AUTOSCALER: Final = "autoscaler"


class LeaseLostError(StoreUnavailable):
    """Another worker acts now: this one slept longer than its lease."""


class Ledger:
    """The records as one supervisor writes them."""

    def __init__(self, store: Store, capacity: Capacity, lease_seconds: float, clock: Clock = SYSTEM) -> None:
        self._store, self._capacity, self._lease_seconds, self.clock = store, capacity, lease_seconds, clock
        self._holder = uuid4().hex
        self._read: tuple[int, list[Deployment], list[Replica]] | None = None
        self.tallies: defaultdict[str, ReplicaTally] = defaultdict(ReplicaTally)
        """What this worker wrote down, by deployment; those that are gone are left to whoever looks."""

    async def lead(self) -> bool:
        """Takes or renews the lease; whether it is ours."""
        return await self._store.write(
            lambda session: session.leases.take(self._holder, self.clock.unix(), self._lease_seconds), counted=False
        )

    async def give_back(self) -> None:
        """Lets another worker lead at once."""
        await self._store.write(lambda session: session.leases.give_back(self._holder), counted=False)

    async def read(self) -> tuple[list[Deployment], list[Replica]]:
        """Everything, at one moment; what replicas use may be older."""

        def look(session: Session) -> tuple[int, list[Deployment], list[Replica]]:
            changes = session.changes()
            if self._read is not None and self._read[0] == changes:
                return self._read
            return changes, session.deployments.all(), session.replicas.all()

        self._read = await self._store.read(look)
        return self._read[1:]

    async def free_gpus(self) -> list[int]:
        """The GPUs that no replica has."""
        return await self._store.read(self._free_gpus)

    async def started(self, deployment: Deployment) -> Replica | None:
        """A new replica of the wanted revision; None when the wish has changed, or its GPUs are taken."""

        def write(session: Session) -> Replica | None:
            needed = deployment.wanted.config.resources.gpus
            gpus = tuple(self._free_gpus(session)[:needed])
            if self._current(session, deployment) is None or len(gpus) < needed:
                return None
            at = self.clock.now()
            starting = ReplicaState.STARTING
            replica = Replica(uuid4().hex, deployment.id, deployment.wanted, starting, at, at, gpus=gpus)
            session.replicas.add(replica)
            return replica

        started = await self._write(write)
        self.tallies[deployment.id].starts += started is not None
        return started

    async def opened(self, deployment: Deployment, number: int) -> None:
        """So many new replicas of the wanted revision, for which somebody else finds the devices."""

        def write(session: Session) -> None:
            if self._current(session, deployment) is None:
                return
            at = self.clock.now()
            for _ in range(number):
                new = Replica(uuid4().hex, deployment.id, deployment.wanted, ReplicaState.STARTING, at, at)
                session.replicas.add(new)

        await self._write(write)

    async def settled(
        self, deployment: Deployment, settled: Settled, tails: Mapping[str, Sequence[str]]
    ) -> Sequence[str]:
        """Writes down what was seen and returns the ids of failed replicas that are forgotten for it."""

        def write(session: Session) -> Sequence[str]:
            current = session.deployments.get(deployment.model_id)
            if current is None or current.id != deployment.id:
                return ()
            for one in settled.news:
                session.replicas.move(one.replica, one.state, one.at, **one.more(tails))
            if settled.changed is not None:
                session.deployments.put(settled.changed(current))
            for event in settled.events(deployment.model_id, ACTOR):
                session.events.add(event)
            return session.replicas.forget_failed(deployment.id)

        forgotten = await self._write(write)
        self.tallies[deployment.id].failures += sum(one.failed for one in settled.news)
        return forgotten

    async def draining(self, replica: Replica) -> None:
        """The replica gets nothing new from now on."""
        await self._write(lambda session: session.replicas.move(replica, ReplicaState.DRAINING, self.clock.now()))

    async def changed(self, deployment: Deployment, change: Callable[[Deployment], Deployment], action: str) -> None:
        """A decision of the supervisor's own about a deployment whose wish is still the same."""

        def write(session: Session) -> None:
            current = self._current(session, deployment)
            if current is not None:
                session.deployments.put(change(current))
                details = {"version": deployment.wanted.config.version, "reason": deployment.reason}
                session.events.add(Event(self.clock.now(), deployment.model_id, deployment.id, ACTOR, action, details))

        await self._write(write)

    async def demands(self) -> list[Demand]:
        """What callers want."""
        return await self._store.read(lambda session: session.demands.all())

    async def scaled(self, deployment: Deployment, replicas: int, reason: str) -> int:
        """So many replicas, or as many as there is room for, or as before; how many it came to."""

        def write(session: Session) -> int | None:
            current = self._current(session, deployment)
            if current is None:
                return None  # somebody else has changed it, and is right
            others = [one for one in session.deployments.all() if one.id != current.id]
            each = current.wanted.config.resources
            number = replicas
            while number > current.replicas and not self._capacity.fits(others, each * number):
                number -= 1
            if number != current.replicas:
                session.deployments.put(replace(current, replicas=number))
                told = {"from": current.replicas, "to": number, "reason": reason}
                session.events.add(Event(self.clock.now(), current.model_id, current.id, AUTOSCALER, "scale", told))
            return number

        came_to = await self._write(write)
        if came_to is not None and came_to != deployment.replicas:
            self.tallies[deployment.id].scalings[Scaling.UP if came_to > deployment.replicas else Scaling.DOWN] += 1
        return replicas if came_to is None else came_to

    async def rested(self, deployment: Deployment, reason: str) -> None:
        """Nobody asks for it, also now: it is ended, and started by the next request."""

        def write(session: Session) -> bool:
            current = self._current(session, deployment)
            wanted = added_up(session.demands.all(), self.clock.unix()).get(deployment.id, Wanted())
            if current is None or wanted.busy:
                return False
            eviction.rest(session, current, eviction.Why(self.clock.now(), AUTOSCALER, reason))
            return True

        self.tallies[deployment.id].scalings[Scaling.REST] += await self._write(write)

    async def erased(self, deployment: Deployment) -> None:
        """The deployment is no more; its id is free."""

        def write(session: Session) -> None:
            session.deployments.remove(deployment.id)
            session.events.add(Event(self.clock.now(), deployment.model_id, deployment.id, ACTOR, "deleted", {}))

        await self._write(write)

    async def measured(self, used: Mapping[str, tuple[int, int]]) -> None:
        """Millicores and bytes of replicas; nobody keeps copies of that."""

        def write(session: Session) -> None:
            for replica_id, (cpu_millicores, memory_bytes) in used.items():
                session.replicas.measured(replica_id, cpu_millicores, memory_bytes)

        await self._write(write, counted=False)

    async def let_go(self) -> list[str]:
        """Forgets every replica, because the server ends in good order, and returns their ids; the wishes stay."""

        def write(session: Session) -> list[str]:
            alive = [one for one in session.replicas.all() if one.state.alive]
            for one in alive:
                session.replicas.move(one, ReplicaState.GONE, self.clock.now())
            return [one.id for one in alive]

        return await self._write(write)

    async def _write(self, work: Callable[[Session], T], *, counted: bool = True) -> T:
        def guarded(session: Session) -> T:
            if not session.leases.holds(self._holder, self.clock.unix()):
                raise LeaseLostError(retry_after=1)
            session.leases.take(self._holder, self.clock.unix(), self._lease_seconds)  # a long look keeps it
            return work(session)

        return await self._store.write(guarded, counted=counted)

    def _current(self, session: Session, deployment: Deployment) -> Deployment | None:
        """The deployment as it is now, if it wishes what it did when it was read."""
        current = session.deployments.get(deployment.model_id)
        if current is None or current.id != deployment.id:
            return None
        same = (current.wanted, current.replicas, current.removal) == (
            deployment.wanted,
            deployment.replicas,
            deployment.removal,
        )
        return current if same else None

    def _free_gpus(self, session: Session) -> list[int]:
        taken = [gpu for one in session.replicas.all() if one.state.alive for gpu in one.gpus]
        return free_gpus(self._capacity.limit.gpus, taken)
