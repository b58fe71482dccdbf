"""Follows the load of every model: remembers what its looks advised, and has the ledger write down what changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from management.control import eviction
from management.control.autoscaling.policy import LOOK_SECONDS, Advice, History, Load, advise, decide, idle
from management.control.demand import (
    Wanted,
    added_up,
)
from management.control.journal import Ledger
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import StoreUnavailable
from management.settings import Settings

SMOOTHED: Final = 3
"""Measurements that are averaged."""
SETTLED_SECONDS: Final = 9.0
"""After a replica became ready, in which its start still shows in the average of what it uses."""
NO_ROOM_SECONDS: Final = 30.0
"""Until it is tried again, after there was no room for more replicas."""
RELIEF_SECONDS: Final = 5.0
"""That the end of a model has to show in the machine's memory, before another one is ended."""

logger = logging.getLogger(__name__)


class Autoscaler:
    """Of the worker that leads. It starts and ends nothing: it changes wishes, as a request does."""

    def __init__(self, ledger: Ledger, settings: Settings, free_memory: Callable[[], int], least_memory: int) -> None:
        """``free_memory``: bytes that the machine has left; below ``least_memory`` a model on demand makes place."""
        self._ledger, self._settings = ledger, settings
        self._free_memory, self._least_memory = free_memory, least_memory
        self._histories: dict[str, History] = {}
        self._no_room: dict[str, float] = {}
        self._measured: dict[str, list[float]] = {}
        self._look_at = self._relief_at = 0.0

    def measured(self, millicores: Mapping[str, int]) -> None:
        """What replicas used since the last measurement."""
        kept = self._measured
        self._measured = {one: [*kept.get(one, ()), used][-SMOOTHED:] for one, used in millicores.items()}

    async def look(self, deployments: Sequence[Deployment], replicas: Sequence[Replica]) -> None:
        """Once a second: the load of each model, and what follows from it."""
        at = self._ledger.clock.steady()
        if at < self._look_at or not any(_follows_load(one) for one in deployments):
            return
        self._look_at = at + LOOK_SECONDS
        wanted = added_up(await self._ledger.demands(), self._ledger.clock.unix())
        for gone in self._histories.keys() - {one.id for one in deployments}:
            del self._histories[gone]
            self._no_room.pop(gone, None)
        for one in deployments:
            if _follows_load(one):
                own = [replica for replica in replicas if replica.deployment_id == one.id]
                try:
                    await self._follow(one, own, wanted.get(one.id, Wanted()))
                except StoreUnavailable:
                    raise
                except Exception:  # one bad model must not be everybody's
                    logger.exception("the load of model %s cannot be followed", one.model_id)
        await self._relieve(deployments, replicas, wanted)

    async def _follow(self, deployment: Deployment, replicas: Sequence[Replica], wanted: Wanted) -> None:
        now = self._ledger.clock.unix()
        ready = [one for one in replicas if one.state is ReplicaState.READY]
        held = _is_held(deployment, now)
        if eviction.may_rest(deployment, replicas) and not wanted.busy and not held:
            used = eviction.last_used(deployment, replicas, wanted)
            if idle(deployment, used, now, self._settings.idle_seconds):
                await self._ledger.rested(deployment, f"nobody asked for {self._settings.idle_seconds:g} s")
                return
        history = self._histories.setdefault(deployment.id, History())
        told = wanted.waiting and history.told_at == wanted.told_at  # a report that waits counts once
        if ready and not told:
            history.told_at = wanted.told_at
            quiet = self._settings.quiet_seconds
            scaling = deployment.wanted.config.scaling
            history.add(advise(self._load(deployment, ready, wanted), deployment.replicas, scaling), quiet)
            change = decide(deployment.replicas, history.advice, quiet)
            if change is not None and not held and now >= self._no_room.get(deployment.id, 0.0):
                await self._scale(deployment, change)

    async def _scale(self, deployment: Deployment, change: Advice) -> None:
        came_to = await self._ledger.scaled(deployment, change.replicas, change.reason)
        if came_to < change.replicas:
            logger.warning("model %s: no room for %d replicas", deployment.model_id, change.replicas)
            self._no_room[deployment.id] = self._ledger.clock.unix() + NO_ROOM_SECONDS

    def _load(self, deployment: Deployment, ready: Sequence[Replica], wanted: Wanted) -> Load:
        return Load(
            self._ledger.clock.steady(),
            len(ready),
            self._utilization(deployment, ready),
            wanted.in_flight,
            wanted.waiting if wanted.places else 0,  # who waits for the start is not too much for what starts
            wanted.places,
        )

    def _utilization(self, deployment: Deployment, ready: Sequence[Replica]) -> float | None:
        """Percent of what they asked for, of those whose start is over."""
        now = self._ledger.clock.unix()
        used = [
            sum(measured) / len(measured)
            for one in ready
            if one.ready_at and now - one.ready_at.timestamp() > SETTLED_SECONDS
            if (measured := self._measured.get(one.id))
        ]
        asked = deployment.wanted.config.resources.cpu_millicores
        return 100 * sum(used) / len(used) / asked if used and asked else None

    async def _relieve(
        self, deployments: Sequence[Deployment], replicas: Sequence[Replica], wanted: dict[str, Wanted]
    ) -> None:
        """Where the machine itself is short of memory, whatever was asked for."""
        at = self._ledger.clock.steady()
        if at < self._relief_at or self._free_memory() >= self._least_memory:
            return
        for one in eviction.longest_idle(deployments, replicas, wanted, self._ledger.clock.unix())[:1]:
            logger.warning("the machine is short of memory: model %s is ended", one.model_id)
            await self._ledger.rested(one, "the machine is short of memory")
            self._relief_at = at + RELIEF_SECONDS


def _follows_load(deployment: Deployment) -> bool:
    scaling = deployment.wanted.config.scaling
    serves = deployment.replicas > 0 and not deployment.removal and not deployment.gave_up
    return serves and (deployment.on_demand or scaling.min_replicas < scaling.max_replicas)


def _is_held(deployment: Deployment, now: float) -> bool:
    return deployment.held_until is not None and now < deployment.held_until
