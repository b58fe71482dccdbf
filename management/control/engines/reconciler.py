"""Reconciles deployments on an engine that keeps replicas by itself: observes, plans, acts, and records the status.

It has the same interface as ``Supervisor``. A server has one of the two, and callers need not know which.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from management.backends.engine import NOTHING_THERE, Engine, EnginePhase, EngineSpec, EngineStatus
from management.control import evaluation
from management.control.demand import TotalLoad, total_load
from management.control.engines.apply_queue import ApplyQueue
from management.control.engines.engine_plan import (
    AdoptReplicas,
    Apply,
    ChangeState,
    Delete,
    EngineAction,
    MarkStable,
    RecordStarting,
    Snapshot,
    Suspend,
    plan_engine,
    rollback_or_fail,
    spec_of,
)
from management.control.evaluation import Evaluation, MarkFailed, RemoveRecord, RollBack, Transition
from management.control.journal import Journal, LeaseLost
from management.control.leader_loop import LeaderLoop
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import BackendUnavailable, StoreUnavailable
from management.gateway.load_reporter import REPORT_SECONDS
from management.settings import ReplicaSettings

BUSY_FRACTION: Final = 0.2
"""Fraction of the time between two turns that passes while something is on its way."""
REPORT_DELAY_SECONDS: Final = 2 * REPORT_SECONDS
"""Seconds until every worker has reported what is in flight to a draining replica."""
CHANGING_PHASES: Final = (EnginePhase.PENDING, EnginePhase.UNHEALTHY, EnginePhase.ENDING)
"""Phases that soon change, so that the next turn is soon."""
CONFIRMING_PHASES: Final = (EnginePhase.PENDING, EnginePhase.UNHEALTHY, EnginePhase.RUNNING)
"""Phases in which the spec that the engine shows is one that it has accepted."""

logger = logging.getLogger(__name__)


class Reconciler(LeaderLoop):
    """Gives specs to an engine that keeps replicas by itself, and records what the engine shows."""

    def __init__(
        self, journal: Journal, engine: Engine, settings: ReplicaSettings, recorded: Callable[[], Awaitable[None]]
    ) -> None:
        """``recorded`` is called after a turn that recorded something."""
        super().__init__(journal, logger)
        self.idle_seconds, self.busy_seconds = settings.engine_seconds, settings.engine_seconds * BUSY_FRACTION
        self._engine = engine
        self._settings, self._recorded = settings, recorded
        self._queue = ApplyQueue(engine, self._clock, settings.retry_seconds, self.wake)
        self._unhealthy_since: dict[str, float] = {}
        """Steady time at which each deployment became unhealthy, by id."""
        self._load: Mapping[str, TotalLoad] = {}

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next step after a failed one."""
        return self.busy_seconds

    async def lease_taken(self) -> None:
        """Forgets how long deployments were unhealthy when this worker led last."""
        self._unhealthy_since.clear()

    async def lease_lost(self) -> None:
        """Cancels specs that are being applied: another worker applies them now."""
        await self._queue.close()

    def probe_now(self, replica_id: str) -> None:
        """Has the engine observed at once after a replica could not be reached."""
        self.wake()

    async def take_turn(self) -> bool:
        """Observes and reconciles all deployments. True when something is on its way, so that the next turn is soon.

        The engine is observed before the records are read: what it has without a record then, is an orphan.
        """
        statuses = await self._observe()
        deployments, replicas = await self._journal.read()
        self._load = total_load(await self._journal.load_reports(), self._clock.unix())
        by_deployment: dict[str, list[Replica]] = defaultdict(list)
        for replica in replicas:
            by_deployment[replica.deployment_id].append(replica)
        busy = recorded = False
        for deployment in deployments:
            status = statuses.pop(deployment.id, NOTHING_THERE)
            try:
                recorded |= await self._reconcile(deployment, by_deployment[deployment.id], status)
            except StoreUnavailable:
                raise
            except BackendUnavailable as error:  # for this deployment alone
                logger.warning("model %s stays as it is: %s", deployment.model_id, error.details)
            except Exception:  # an error of one model must not stop the others
                logger.exception("model %s cannot be reconciled", deployment.model_id)
            busy |= status.phase in CHANGING_PHASES
        for status in statuses.values():
            await self._delete_orphan(status)
        if recorded:
            await self._recorded()
        return busy or recorded or bool(statuses) or self._queue.under_way()

    async def _delete_orphan(self, status: EngineStatus) -> None:
        logger.warning("%s runs without a record: it is deleted", status.name)
        with suppress(BackendUnavailable):  # the next turn tries again
            await self._engine.remove(status, force=True)

    async def _observe(self) -> dict[str, EngineStatus]:
        """Observes the engine, and renews the lease meanwhile: a slow engine may take longer than the lease lasts."""
        observing = asyncio.ensure_future(self._engine.observe())
        try:
            while not (await asyncio.wait({observing}, timeout=self._journal.lease_seconds / 3))[0]:
                if not await self._journal.take_lease():
                    raise LeaseLost(retry_after=1)
        finally:
            observing.cancel()
            await asyncio.gather(observing, return_exceptions=True)
        return observing.result()

    async def _reconcile(self, deployment: Deployment, replicas: list[Replica], status: EngineStatus) -> bool:
        """Plans and acts for one deployment. True when anything was done or recorded, or replicas start or drain."""
        if deployment.deletion or deployment.replicas == 0:
            await self._queue.drop(deployment.id)
        snapshot = self._snapshot(deployment, replicas, status)
        refusal = self._queue.refusal(snapshot.spec)
        steps = [rollback_or_fail(deployment, refusal)] if refusal else plan_engine(deployment, replicas, snapshot)
        early = status.phase is not snapshot.status.phase
        if snapshot.applied and status.phase in CONFIRMING_PHASES and not early:
            self._queue.confirmed(deployment.id)
        changes = [step for step in steps if isinstance(step, ChangeState)]
        if changes:
            await self._change_states(deployment, replicas, changes, status)
        for step in steps:
            await self._act(deployment, snapshot, step)
        moving = any(replica.state in (ReplicaState.STARTING, ReplicaState.DRAINING) for replica in replicas)
        return bool(steps) or moving

    def _snapshot(self, deployment: Deployment, replicas: Sequence[Replica], status: EngineStatus) -> Snapshot:
        now = self._clock.steady()
        if status.phase is EnginePhase.UNHEALTHY:
            since = self._unhealthy_since.setdefault(deployment.id, now)
        else:
            since = now
            self._unhealthy_since.pop(deployment.id, None)
        spec = spec_of(deployment, self._clock.unix())
        status = self._corrected(deployment, spec, status)
        lasting = now - since > self._settings.start_seconds
        return Snapshot(status, spec, self._idle(deployment, replicas), lasting)

    def _corrected(self, deployment: Deployment, spec: EngineSpec, status: EngineStatus) -> EngineStatus:
        """The status, pending where the engine still reports the revision before as running after a new spec."""
        early = not deployment.is_stable and self._queue.in_grace(spec, self._settings.engine_seconds)
        if early and status.phase is EnginePhase.RUNNING:
            return replace(status, phase=EnginePhase.PENDING)
        return status

    def _idle(self, deployment: Deployment, replicas: Sequence[Replica]) -> bool:
        draining = [replica for replica in replicas if replica.state is ReplicaState.DRAINING]
        age = min(((self._clock.now() - replica.changed_at).total_seconds() for replica in draining), default=0.0)
        quiet = not self._load.get(deployment.id, TotalLoad()).in_flight and age >= REPORT_DELAY_SECONDS
        return quiet or age >= self._settings.drain_seconds or age < 0  # the clock was set back since

    async def _change_states(
        self, deployment: Deployment, replicas: Sequence[Replica], changes: Sequence[ChangeState], status: EngineStatus
    ) -> None:
        by_id, now = {replica.id: replica for replica in replicas}, self._clock.now()
        transitions = tuple(
            Transition(by_id[replica_id], change.state, now, address=status.address, reason=change.reason)
            for change in changes
            for replica_id in change.replica_ids
        )
        await self._journal.apply(deployment, Evaluation(transitions), {})

    async def _act(self, deployment: Deployment, snapshot: Snapshot, step: EngineAction) -> None:
        match step:
            case Apply():
                self._queue.submit(snapshot.spec)
            case Suspend():
                await self._engine.halt(snapshot.status)
            case Delete(force):
                await self._engine.remove(snapshot.status, force=force)
            case RecordStarting(number):
                await self._journal.add_starting_rows(deployment, number)
            case AdoptReplicas(number):
                await self._journal.set_replicas(deployment, number, f"the engine runs {number}")
            case RemoveRecord():
                await self._journal.remove_deployment(deployment)
                self._unhealthy_since.pop(deployment.id, None)
            case RollBack(reason):
                await self._decide(deployment, evaluation.rolled_back, "rolled_back", reason)
            case MarkFailed(reason):
                await self._decide(deployment, evaluation.marked_failed, "given_up", reason)
            case MarkStable():
                await self._journal.apply(
                    deployment, Evaluation(deployment_update=partial(_marked_stable, deployment)), {}
                )

    async def _decide(
        self, deployment: Deployment, change: Callable[[Deployment], Deployment], action: str, reason: str
    ) -> None:
        explained = replace(deployment, reason=reason)
        await self._journal.change_deployment(
            explained, lambda current: change(replace(current, reason=reason)), action
        )

    async def log(self, deployment: Deployment, replicas: Sequence[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines of the logs by replica id. An engine's replicas have no ids of ours: any row gets any log."""
        alive = [replica for replica in replicas if replica.state.alive]
        logs = await self._engine.log(deployment, lines) if alive else []
        return dict(zip((replica.id for replica in alive), logs, strict=False))

    async def close(self, *, stop_replicas: bool) -> None:
        """Cancels what is under way, and releases the lease. To be called after ``run`` was cancelled.

        The engine's replicas keep running whatever ``stop_replicas`` says: the engine keeps them without any server.
        """
        await self._queue.close()
        await self._give_back_lease()


def _marked_stable(seen: Deployment, current: Deployment) -> Deployment:
    """The deployment with its target as the last stable revision, unless the target has changed since it was seen."""
    if current.target.number != seen.target.number:
        return current
    return replace(current, last_stable=current.target, failures=0, retry_at=None, failed=False, reason="")
