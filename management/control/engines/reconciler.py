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

from management.backends.engine import NOTHING_THERE, Condition, Engine, Order, Standing
from management.control import evaluation
from management.control.demand import (
    Wanted,
    added_up,
)
from management.control.engines.apply_queue import Orders
from management.control.engines.engine_plan import (
    Apply,
    Erase,
    Follow,
    GiveUp,
    Halt,
    Move,
    Open,
    Prove,
    Remove,
    RollBack,
    Sight,
    Step,
    hopeless,
    order_of,
    steer,
)
from management.control.evaluation import (
    News,
    Settled,
)
from management.control.journal import LeaseLostError, Ledger
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
MOVING: Final = (Standing.PENDING, Standing.UNHEALTHY, Standing.ENDING)
SHOWN: Final = (Standing.PENDING, Standing.UNHEALTHY, Standing.RUNNING)
"""In which the order that a deployment holds is one that was taken."""

logger = logging.getLogger(__name__)


class Reconciler(LeaderLoop):
    """Gives specs to an engine that keeps replicas by itself, and records what the engine shows."""

    def __init__(
        self, ledger: Ledger, engine: Engine, settings: Settings, recorded: Callable[[], Awaitable[None]]
    ) -> None:
        """``recorded`` is called after a look that wrote something down."""
        super().__init__(ledger, settings.lease_seconds, logger)
        self.idle_seconds, self.busy_seconds = settings.engine_seconds, settings.engine_seconds * BUSY_FRACTION
        self._ledger, self._engine = ledger, engine
        self._settings, self._recorded = settings, recorded
        self._orders = Orders(engine, self._clock, settings.retry_seconds, self.wake)
        self._ailing: dict[str, float] = {}
        """Since when deployments have been unhealthy."""
        self._demands: Mapping[str, Wanted] = {}

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next step after one that failed."""
        return self.busy_seconds

    async def lease_taken(self) -> None:
        """Forgets how long deployments were unhealthy when this worker led last."""
        self._ailing.clear()

    async def lease_lost(self) -> None:
        """Gives up orders that are under way: another worker gives them now."""
        await self._orders.close()

    def suspect(self, replica_id: str) -> None:
        """Somebody could not reach it: the engine is asked now."""
        self.wake()

    async def look(self) -> bool:
        """One look at everything; True when something is on its way and deserves another look soon.

        The engine is looked at first: what is there and no record knows afterwards, nobody will record any more.
        """
        conditions = await self._observed()
        deployments, replicas = await self._ledger.read()
        self._demands = added_up(await self._ledger.demands(), self._clock.unix())
        own: dict[str, list[Replica]] = defaultdict(list)
        for one in replicas:
            own[one.deployment_id].append(one)
        busy = moved = False
        for deployment in deployments:
            condition = conditions.pop(deployment.id, NOTHING_THERE)
            try:
                moved |= await self._look_after(deployment, own[deployment.id], condition)
            except StoreUnavailable:
                raise
            except BackendUnavailable as error:  # for this one
                logger.warning("model %s stays as it is: %s", deployment.model_id, error.details)
            except Exception:  # one bad model must not be everybody's
                logger.exception("model %s cannot be looked after", deployment.model_id)
            busy |= condition.standing in MOVING
        for condition in conditions.values():
            await self._end_orphan(condition)
        if moved:
            await self._recorded()
        return busy or moved or bool(conditions) or self._orders.under_way()

    async def _end_orphan(self, condition: Condition) -> None:
        logger.warning("%s is there and nothing is recorded of it: it is ended", condition.name)
        with suppress(BackendUnavailable):  # it is still there at the next look
            await self._engine.remove(condition, force=True)

    async def _observed(self) -> dict[str, Condition]:
        """Its look may take longer than the lease lasts, where the engine is slow to answer: the lease is kept."""
        looking = asyncio.ensure_future(self._engine.observe())
        try:
            while not (await asyncio.wait({looking}, timeout=self._settings.lease_seconds / 3))[0]:
                if not await self._ledger.lead():
                    raise LeaseLostError(retry_after=1)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        return looking.result()

    async def _look_after(self, deployment: Deployment, replicas: list[Replica], condition: Condition) -> bool:
        """Whether anything was done or recorded for this deployment, or is awaited by its replicas."""
        if deployment.removal or deployment.replicas == 0:
            await self._orders.drop(deployment.id)
        sight = self._sight(deployment, replicas, condition)
        refusal = self._orders.refusal(sight.order)
        steps = [hopeless(deployment, refusal)] if refusal else steer(deployment, replicas, sight)
        early = condition.standing is not sight.condition.standing
        if sight.applied and condition.standing in SHOWN and not early:
            self._orders.kept(deployment.id)
        moves = [one for one in steps if isinstance(one, Move)]
        if moves:
            await self._move(deployment, replicas, moves, condition)
        for step in steps:
            await self._act(deployment, sight, step)
        return bool(steps) or any(one.state in (ReplicaState.STARTING, ReplicaState.DRAINING) for one in replicas)

    def _sight(self, deployment: Deployment, replicas: Sequence[Replica], condition: Condition) -> Sight:
        at = self._clock.steady()
        if condition.standing is Standing.UNHEALTHY:
            since = self._ailing.setdefault(deployment.id, at)
        else:
            since = at
            self._ailing.pop(deployment.id, None)
        order = order_of(deployment, self._clock.unix())
        condition = self._believed(deployment, order, condition)
        lasting = at - since > self._settings.start_seconds
        return Sight(condition, order, self._idle(deployment, replicas), lasting)

    def _believed(self, deployment: Deployment, order: Order, condition: Condition) -> Condition:
        """An engine may say a moment too long that all runs, and mean what ran before it took a new revision."""
        early = not deployment.proven and self._orders.recent(order, self._settings.engine_seconds)
        if early and condition.standing is Standing.RUNNING:
            return replace(condition, standing=Standing.PENDING)
        return condition

    def _idle(self, deployment: Deployment, replicas: Sequence[Replica]) -> bool:
        draining = [one for one in replicas if one.state is ReplicaState.DRAINING]
        age = min(((self._clock.now() - one.changed_at).total_seconds() for one in draining), default=0.0)
        quiet = not self._demands.get(deployment.id, Wanted()).in_flight and age >= QUIET_SECONDS
        return quiet or age >= self._settings.drain_seconds or age < 0  # the clock was set back since

    async def _move(
        self, deployment: Deployment, replicas: Sequence[Replica], moves: Sequence[Move], condition: Condition
    ) -> None:
        by_id, at = {one.id: one for one in replicas}, self._clock.now()
        news = tuple(
            News(by_id[replica_id], move.state, at, address=condition.address, reason=move.reason)
            for move in moves
            for replica_id in move.replica_ids
        )
        await self._ledger.settled(deployment, Settled(news), {})

    async def _act(self, deployment: Deployment, sight: Sight, step: Step) -> None:
        match step:
            case Apply():
                self._orders.give(sight.order)
            case Halt():
                await self._engine.halt(sight.condition)
            case Remove(force):
                await self._engine.remove(sight.condition, force=force)
            case Open(number):
                await self._ledger.opened(deployment, number)
            case Follow(number):
                await self._ledger.scaled(deployment, number, f"{number} are kept where it runs")
            case Erase():
                await self._ledger.erased(deployment)
                self._ailing.pop(deployment.id, None)
            case RollBack(reason):
                await self._decided(deployment, evaluation.rolled_back, "rolled_back", reason)
            case GiveUp(reason):
                await self._decided(deployment, evaluation.given_up, "given_up", reason)
            case Prove():
                await self._ledger.settled(deployment, Settled(changed=partial(_proven, deployment)), {})

    async def _decided(
        self, deployment: Deployment, change: Callable[[Deployment], Deployment], action: str, reason: str
    ) -> None:
        told = replace(deployment, reason=reason)
        await self._ledger.changed(told, lambda current: change(replace(current, reason=reason)), action)

    async def log(self, deployment: Deployment, replicas: Sequence[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines by replica id; an engine does not say which of its replicas a row stands for: any does."""
        alive = [one for one in replicas if one.state.alive]
        told = await self._engine.log(deployment, lines) if alive else []
        return dict(zip((one.id for one in alive), told, strict=False))

    async def close(self, *, stop_replicas: bool) -> None:
        """After ``run`` was cancelled: gives up what is under way, and frees the lease.

        What the engine keeps runs on: it does so without any server, until the wish for it is gone.
        """
        await self._orders.close()
        await self._give_back_lease()


def _proven(seen: Deployment, current: Deployment) -> Deployment:
    """The deployment, if it still wishes what was seen to serve."""
    if current.wanted.number != seen.wanted.number:
        return current
    return replace(current, served=current.wanted, failures=0, retry_at=None, gave_up=False, reason="")
