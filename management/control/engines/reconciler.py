"""Makes the wishes come true on an engine that keeps replicas by itself: looks, steers, and records what it finds.

It has the outside of ``Supervisor``, and one of the two acts in a server: who asks for either need not know which.
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
from management.control.demand import (
    TotalLoad,
    total_load,
)
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
from management.control.evaluation import (
    Evaluation,
    MarkFailed,
    RemoveRecord,
    RollBack,
    Transition,
)
from management.control.journal import Journal, LeaseLost
from management.control.leader_loop import LeaderLoop
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import BackendUnavailable, StoreUnavailable
from management.gateway.load_reporter import (
    REPORT_SECONDS,
)
from management.settings import Settings

BUSY_FRACTION: Final = 0.2
"""Fraction of the time between two looks that passes while something is on its way."""
QUIET_SECONDS: Final = 2 * REPORT_SECONDS
"""After which every worker has told what is in flight to a replica that drains."""
MOVING: Final = (EnginePhase.PENDING, EnginePhase.UNHEALTHY, EnginePhase.ENDING)
SHOWN: Final = (EnginePhase.PENDING, EnginePhase.UNHEALTHY, EnginePhase.RUNNING)
"""In which the order that a deployment holds is one that was taken."""

logger = logging.getLogger(__name__)


class Reconciler(LeaderLoop):
    """Gives specs to an engine that keeps replicas by itself, and records what the engine shows."""

    def __init__(
        self, ledger: Journal, engine: Engine, settings: Settings, recorded: Callable[[], Awaitable[None]]
    ) -> None:
        """``recorded`` is called after a look that wrote something down."""
        super().__init__(ledger, settings.lease_seconds, logger)
        self.idle_seconds, self.busy_seconds = settings.engine_seconds, settings.engine_seconds * BUSY_FRACTION
        self._ledger, self._engine = ledger, engine
        self._settings, self._recorded = settings, recorded
        self._queue = ApplyQueue(engine, self._clock, settings.retry_seconds, self.wake)
        self._unhealthy_since: dict[str, float] = {}
        """Since when deployments have been unhealthy."""
        self._load: Mapping[str, TotalLoad] = {}

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next step after one that failed."""
        return self.busy_seconds

    async def lease_taken(self) -> None:
        """Forgets how long deployments were unhealthy when this worker led last."""
        self._unhealthy_since.clear()

    async def lease_lost(self) -> None:
        """Gives up orders that are under way: another worker gives them now."""
        await self._queue.close()

    def probe_now(self, replica_id: str) -> None:
        """Somebody could not reach it: the engine is asked now."""
        self.wake()

    async def take_turn(self) -> bool:
        """One look at everything; True when something is on its way and deserves another look soon.

        The engine is looked at first: what is there and no record knows afterwards, nobody will record any more.
        """
        conditions = await self._observed()
        deployments, replicas = await self._ledger.read()
        self._load = total_load(await self._ledger.load_reports(), self._clock.unix())
        own: dict[str, list[Replica]] = defaultdict(list)
        for one in replicas:
            own[one.deployment_id].append(one)
        busy = moved = False
        for deployment in deployments:
            condition = conditions.pop(deployment.id, NOTHING_THERE)
            try:
                moved |= await self._reconcile(deployment, own[deployment.id], condition)
            except StoreUnavailable:
                raise
            except BackendUnavailable as error:  # for this one
                logger.warning("model %s stays as it is: %s", deployment.model_id, error.details)
            except Exception:  # one bad model must not be everybody's
                logger.exception("model %s cannot be looked after", deployment.model_id)
            busy |= condition.phase in MOVING
        for condition in conditions.values():
            await self._end_orphan(condition)
        if moved:
            await self._recorded()
        return busy or moved or bool(conditions) or self._queue.under_way()

    async def _end_orphan(self, condition: EngineStatus) -> None:
        logger.warning("%s is there and nothing is recorded of it: it is ended", condition.name)
        with suppress(BackendUnavailable):  # it is still there at the next look
            await self._engine.remove(condition, force=True)

    async def _observed(self) -> dict[str, EngineStatus]:
        """Its look may take longer than the lease lasts, where the engine is slow to answer: the lease is kept."""
        looking = asyncio.ensure_future(self._engine.observe())
        try:
            while not (await asyncio.wait({looking}, timeout=self._settings.lease_seconds / 3))[0]:
                if not await self._ledger.take_lease():
                    raise LeaseLost(retry_after=1)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        return looking.result()

    async def _reconcile(self, deployment: Deployment, replicas: list[Replica], condition: EngineStatus) -> bool:
        """Whether anything was done or recorded for this deployment, or is awaited by its replicas."""
        if deployment.deletion or deployment.replicas == 0:
            await self._queue.drop(deployment.id)
        sight = self._snapshot(deployment, replicas, condition)
        refusal = self._queue.refusal(sight.spec)
        steps = [rollback_or_fail(deployment, refusal)] if refusal else plan_engine(deployment, replicas, sight)
        early = condition.phase is not sight.status.phase
        if sight.applied and condition.phase in SHOWN and not early:
            self._queue.confirmed(deployment.id)
        moves = [one for one in steps if isinstance(one, ChangeState)]
        if moves:
            await self._move(deployment, replicas, moves, condition)
        for step in steps:
            await self._act(deployment, sight, step)
        return bool(steps) or any(one.state in (ReplicaState.STARTING, ReplicaState.DRAINING) for one in replicas)

    def _snapshot(self, deployment: Deployment, replicas: Sequence[Replica], condition: EngineStatus) -> Snapshot:
        at = self._clock.steady()
        if condition.phase is EnginePhase.UNHEALTHY:
            since = self._unhealthy_since.setdefault(deployment.id, at)
        else:
            since = at
            self._unhealthy_since.pop(deployment.id, None)
        order = spec_of(deployment, self._clock.unix())
        condition = self._believed(deployment, order, condition)
        lasting = at - since > self._settings.start_seconds
        return Snapshot(condition, order, self._idle(deployment, replicas), lasting)

    def _believed(self, deployment: Deployment, order: EngineSpec, condition: EngineStatus) -> EngineStatus:
        """An engine may say a moment too long that all runs, and mean what ran before it took a new revision."""
        early = not deployment.is_stable and self._queue.in_grace(order, self._settings.engine_seconds)
        if early and condition.phase is EnginePhase.RUNNING:
            return replace(condition, phase=EnginePhase.PENDING)
        return condition

    def _idle(self, deployment: Deployment, replicas: Sequence[Replica]) -> bool:
        draining = [one for one in replicas if one.state is ReplicaState.DRAINING]
        age = min(((self._clock.now() - one.changed_at).total_seconds() for one in draining), default=0.0)
        quiet = not self._load.get(deployment.id, TotalLoad()).in_flight and age >= QUIET_SECONDS
        return quiet or age >= self._settings.drain_seconds or age < 0  # the clock was set back since

    async def _move(
        self, deployment: Deployment, replicas: Sequence[Replica], moves: Sequence[ChangeState], condition: EngineStatus
    ) -> None:
        by_id, at = {one.id: one for one in replicas}, self._clock.now()
        news = tuple(
            Transition(by_id[replica_id], move.state, at, address=condition.address, reason=move.reason)
            for move in moves
            for replica_id in move.replica_ids
        )
        await self._ledger.apply(deployment, Evaluation(news), {})

    async def _act(self, deployment: Deployment, sight: Snapshot, step: EngineAction) -> None:
        match step:
            case Apply():
                self._queue.submit(sight.spec)
            case Suspend():
                await self._engine.halt(sight.status)
            case Delete(force):
                await self._engine.remove(sight.status, force=force)
            case RecordStarting(number):
                await self._ledger.add_starting_rows(deployment, number)
            case AdoptReplicas(number):
                await self._ledger.set_replicas(deployment, number, f"{number} are kept where it runs")
            case RemoveRecord():
                await self._ledger.remove_deployment(deployment)
                self._unhealthy_since.pop(deployment.id, None)
            case RollBack(reason):
                await self._decided(deployment, evaluation.rolled_back, "rolled_back", reason)
            case MarkFailed(reason):
                await self._decided(deployment, evaluation.marked_failed, "given_up", reason)
            case MarkStable():
                await self._ledger.apply(deployment, Evaluation(deployment_update=partial(_proven, deployment)), {})

    async def _decided(
        self, deployment: Deployment, change: Callable[[Deployment], Deployment], action: str, reason: str
    ) -> None:
        told = replace(deployment, reason=reason)
        await self._ledger.change_deployment(told, lambda current: change(replace(current, reason=reason)), action)

    async def log(self, deployment: Deployment, replicas: Sequence[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines by replica id; an engine does not say which of its replicas a row stands for: any does."""
        alive = [one for one in replicas if one.state.alive]
        told = await self._engine.log(deployment, lines) if alive else []
        return dict(zip((one.id for one in alive), told, strict=False))

    async def close(self, *, stop_replicas: bool) -> None:
        """After ``run`` was cancelled: gives up what is under way, and frees the lease.

        What the engine keeps runs on: it does so without any server, until the wish for it is gone.
        """
        await self._queue.close()
        await self._give_back_lease()


def _proven(seen: Deployment, current: Deployment) -> Deployment:
    """The deployment, if it still wishes what was seen to serve."""
    if current.target.number != seen.target.number:
        return current
    return replace(current, last_stable=current.target, failures=0, retry_at=None, failed=False, reason="")
