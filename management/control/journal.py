"""What the leader, a supervisor or a reconciler, records.

Every write checks in the same transaction that this worker still holds the lease.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import uuid4

from management.control import eviction
from management.control.demand import TotalLoad, total_load
from management.control.evaluation import Evaluation
from management.counters import ReplicaCounters, ScalingDirection
from management.domain.capacity import Capacity, free_gpus
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Deployment, Event, LoadReport, Replica, ReplicaState, Resources, Revision
from management.domain.strategy import Strategy
from management.errors import StoreUnavailable
from management.store import Session, Store

T = TypeVar("T")

ACTOR: Final = "supervisor"
AUTOSCALER: Final = "autoscaler"


class LeaseLost(StoreUnavailable):
    """Another worker may lead now: this one did not renew its lease in time."""


class Journal:
    """Reads and writes the records for one leader. Writes raise LeaseLost and StoreUnavailable."""

    def __init__(self, store: Store, capacity: Capacity, lease_seconds: float, clock: Clock = SYSTEM) -> None:
        self._store, self._capacity, self.lease_seconds, self.clock = store, capacity, lease_seconds, clock
        self._holder = uuid4().hex
        self._read: tuple[int, list[Deployment], list[Replica]] | None = None
        self.counters: defaultdict[str, ReplicaCounters] = defaultdict(ReplicaCounters)
        """What this worker recorded, by deployment id. ``Metrics`` drops those of removed deployments."""

    async def take_lease(self) -> bool:
        """Takes or renews the lease. True when this worker holds it."""
        return await self._store.write(
            lambda session: session.leases.take(self._holder, self.clock.unix(), self.lease_seconds), counted=False
        )

    async def release_lease(self) -> None:
        """Lets another worker lead at once."""
        await self._store.write(lambda session: session.leases.give_back(self._holder), counted=False)

    async def read(self) -> tuple[list[Deployment], list[Replica]]:
        """All deployments and replicas at one moment; the replicas' usage may be older."""

        def read(session: Session) -> tuple[int, list[Deployment], list[Replica]]:
            changes = session.changes()
            if self._read is not None and self._read[0] == changes:
                return self._read
            return changes, session.deployments.all(), session.replicas.all()

        self._read = await self._store.read(read)
        return self._read[1:]

    async def free_slots(self, deployment: Deployment, replicas: Sequence[Replica]) -> int:
        """How many more replicas of the target revision the machine has room for; these are the deployment's.

        GPUs are for one replica each. Cores and memory limit a start of many beside old ones, which no command counted.
        """
        each, alive = deployment.target.config.resources, [replica for replica in replicas if replica.state.alive]
        updates = any(replica.revision.number != deployment.target.number for replica in alive)
        many = updates and deployment.target.config.strategy is Strategy.BEST_EFFORT
        slots = deployment.replicas + 1
        if each.gpus:
            slots = len(await self._store.read(self._free_gpus)) // each.gpus
        if many:
            spare = await self._store.read(lambda session: self._spare(session, each, slots))
            slots = min(slots, deployment.replicas + max(1, spare) - len(alive))
        return slots

    def _spare(self, session: Session, each: Resources, most: int) -> int:
        """How many replicas fit beside all that are desired."""
        deployments = session.deployments.all()
        return next((number for number in range(most, 0, -1) if self._capacity.fits(deployments, each * number)), 0)

    async def add_replica(self, deployment: Deployment, revision: Revision | None = None) -> Replica | None:
        """Adds a replica of the revision; None when the desired state has changed or too few GPUs are free.

        Without a revision it is the target.
        """
        of = revision or deployment.target

        def write(session: Session) -> Replica | None:
            needed = of.config.resources.gpus
            gpus = tuple(self._free_gpus(session)[:needed]) if needed else ()  # which reads all replicas
            if self._current(session, deployment) is None or len(gpus) < needed:
                return None
            now = self.clock.now()
            starting = ReplicaState.STARTING
            replica = Replica(uuid4().hex, deployment.id, of, starting, now, now, gpus=gpus)
            session.replicas.add(replica)
            return replica

        started = await self._write(write)
        self.counters[deployment.id].starts += started is not None
        return started

    async def add_starting_rows(self, deployment: Deployment, number: int) -> None:
        """Adds this number of replicas of the target revision, whose devices the engine assigns."""

        def write(session: Session) -> None:
            if self._current(session, deployment) is None:
                return
            now = self.clock.now()
            for _ in range(number):
                replica = Replica(uuid4().hex, deployment.id, deployment.target, ReplicaState.STARTING, now, now)
                session.replicas.add(replica)

        await self._write(write)

    async def apply(
        self, deployment: Deployment, evaluation: Evaluation, tails: Mapping[str, Sequence[str]]
    ) -> Sequence[str]:
        """Records the evaluation, and returns the ids of older failed replicas whose records are dropped for it."""

        def write(session: Session) -> Sequence[str]:
            current = session.deployments.get(deployment.model_id)
            if current is None or current.id != deployment.id:
                return ()
            for step in evaluation.transitions:
                session.replicas.transition(step.replica, step.state, step.at, **step.more(tails))
            if evaluation.deployment_update is not None:
                session.deployments.put(evaluation.deployment_update(current))
            for event in evaluation.events(deployment.model_id, ACTOR):
                session.events.add(event)
            return session.replicas.forget_failed(deployment.id)

        forgotten = await self._write(write)
        self.counters[deployment.id].failures += sum(transition.failed for transition in evaluation.transitions)
        return forgotten

    async def start_draining(self, replica: Replica) -> None:
        """Records that the replica gets no new requests from now on."""
        await self._write(lambda session: session.replicas.transition(replica, ReplicaState.DRAINING, self.clock.now()))

    async def record_waiting(self, replica_id: str, reason: str) -> None:
        """Records what a replica that starts waits for."""
        await self._write(lambda session: session.replicas.record_waiting(replica_id, reason))

    async def add_event(self, deployment: Deployment, action: str, details: Mapping[str, Any]) -> None:
        """Records what happened to a deployment without a change of it."""
        event = Event(self.clock.now(), deployment.model_id, deployment.id, ACTOR, action, details)
        await self._write(lambda session: session.events.add(event))

    async def change_deployment(
        self, deployment: Deployment, change: Callable[[Deployment], Deployment], action: str
    ) -> None:
        """Changes a deployment by a decision of the leader, unless its desired state has changed since it was read."""

        def write(session: Session) -> None:
            current = self._current(session, deployment)
            if current is not None:
                changed = change(current)
                session.deployments.put(changed)
                reason = changed.reason or deployment.reason  # the end of an update drops it
                details = {"version": deployment.target.config.version, "reason": reason}
                session.events.add(Event(self.clock.now(), deployment.model_id, deployment.id, ACTOR, action, details))

        await self._write(write)

    async def load_reports(self) -> list[LoadReport]:
        """The load that all workers reported."""
        return await self._store.read(lambda session: session.load_reports.all())

    async def set_replicas(self, deployment: Deployment, replicas: int, reason: str) -> int:
        """Sets the number of replicas, or the most that fit, but no fewer than before. Returns the number reached."""

        def write(session: Session) -> int | None:
            current = self._current(session, deployment)
            if current is None:
                return None  # a caller has changed it meanwhile, which takes precedence
            others = [other for other in session.deployments.all() if other.id != current.id]
            each = current.target.config.resources
            number = replicas
            while number > current.replicas and not self._capacity.fits(others, each * number):
                number -= 1
            if number != current.replicas:
                session.deployments.put(replace(current, replicas=number))
                details = {"from": current.replicas, "to": number, "reason": reason}
                session.events.add(Event(self.clock.now(), current.model_id, current.id, AUTOSCALER, "scale", details))
            return number

        reached = await self._write(write)
        if reached is not None and reached != deployment.replicas:
            self.counters[deployment.id].scalings[
                ScalingDirection.UP if reached > deployment.replicas else ScalingDirection.DOWN
            ] += 1
        return replicas if reached is None else reached

    async def scale_to_zero(self, deployment: Deployment, reason: str) -> None:
        """Scales the model to zero, unless a request arrived meanwhile."""

        def write(session: Session) -> bool:
            current = self._current(session, deployment)
            load = total_load(session.load_reports.all(), self.clock.unix()).get(deployment.id, TotalLoad())
            if current is None or load.busy:
                return False
            eviction.scale_to_zero(session, current, eviction.Cause(self.clock.now(), AUTOSCALER, reason))
            return True

        self.counters[deployment.id].scalings[ScalingDirection.TO_ZERO] += await self._write(write)

    async def remove_deployment(self, deployment: Deployment) -> None:
        """Removes the deployment's record; its id is free afterwards."""

        def write(session: Session) -> None:
            session.deployments.remove(deployment.id)
            session.events.add(Event(self.clock.now(), deployment.model_id, deployment.id, ACTOR, "deleted", {}))

        await self._write(write)

    async def record_usage(self, used: Mapping[str, tuple[int, int]]) -> None:
        """Records millicores and bytes by replica id. No cache holds them, so this counts as no change."""
        await self._write(lambda session: session.replicas.record_usage(used), counted=False)

    async def forget_replicas(self) -> list[str]:
        """Records every replica as gone when the server shuts down, and returns their ids. The desired state stays."""

        def write(session: Session) -> list[str]:
            alive = [replica for replica in session.replicas.all() if replica.state.alive]
            for replica in alive:
                session.replicas.transition(replica, ReplicaState.GONE, self.clock.now())
            return [replica.id for replica in alive]

        return await self._write(write)

    async def _write(self, work: Callable[[Session], T], *, counted: bool = True) -> T:
        def guarded(session: Session) -> T:
            if not session.leases.holds(self._holder, self.clock.unix()):
                raise LeaseLost(retry_after=1)
            session.leases.take(self._holder, self.clock.unix(), self.lease_seconds)  # so a long turn keeps it
            return work(session)

        return await self._store.write(guarded, counted=counted)

    def _current(self, session: Session, deployment: Deployment) -> Deployment | None:
        """The deployment as it is now; None where its desired state has changed since it was read."""
        current = session.deployments.get(deployment.model_id)
        if current is None or current.id != deployment.id:
            return None
        same = (current.target, current.replicas, current.deletion) == (
            deployment.target,
            deployment.replicas,
            deployment.deletion,
        )
        return current if same else None

    def _free_gpus(self, session: Session) -> list[int]:
        taken = [gpu for replica in session.replicas.all() if replica.state.alive for gpu in replica.gpus]
        return free_gpus(self._capacity.limit.gpus, taken)
