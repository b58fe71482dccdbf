"""Follows the load of every model: keeps the recommendations of the last samples, and changes the desired replicas."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from management.control import eviction
from management.control.autoscaling.policy import (
    SAMPLE_INTERVAL_SECONDS,
    LoadSample,
    Recommendation,
    RecommendationHistory,
    decide,
    idle,
    recommend,
)
from management.control.demand import TotalLoad, total_load
from management.control.journal import Journal
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import StoreUnavailable
from management.settings import AutoscalingSettings

SMOOTHED_SAMPLES: Final = 3
"""Number of measurements that are averaged."""
START_EFFECT_SECONDS: Final = 9.0
"""Seconds after a replica became ready in which its average usage still shows its start."""
NO_CAPACITY_PAUSE_SECONDS: Final = 30.0
"""Seconds until the next attempt after there was no capacity for more replicas."""
MEMORY_RELIEF_SECONDS: Final = 5.0
"""Seconds until the next model is scaled to zero, in which the machine's memory has to show the effect."""

logger = logging.getLogger(__name__)


class Autoscaler:
    """Changes the desired state by the load, as a caller's request does; it starts and stops no replicas itself."""

    def __init__(
        self, journal: Journal, settings: AutoscalingSettings, free_memory: Callable[[], int], min_free_memory: int
    ) -> None:
        """``free_memory`` gives the machine's free bytes; below ``min_free_memory`` an idle model is scaled to zero."""
        self._journal, self._settings = journal, settings
        self._free_memory, self._min_free_memory = free_memory, min_free_memory
        self._histories: dict[str, RecommendationHistory] = {}
        self._paused_until: dict[str, float] = {}
        self._usage: dict[str, list[float]] = {}
        self._next_sample_at = self._next_relief_at = 0.0

    def measured(self, millicores: Mapping[str, int]) -> None:
        """Takes what each replica used since the last measurement, by its id."""
        usage = self._usage
        self._usage = {key: [*usage.get(key, ()), used][-SMOOTHED_SAMPLES:] for key, used in millicores.items()}

    async def follow_load(self, deployments: Sequence[Deployment], replicas: Sequence[Replica]) -> None:
        """Samples the load of each model once a second, and scales the models by it."""
        now = self._journal.clock.steady()
        if now < self._next_sample_at or not any(_follows_load(deployment) for deployment in deployments):
            return
        self._next_sample_at = now + SAMPLE_INTERVAL_SECONDS
        loads = total_load(await self._journal.load_reports(), self._journal.clock.unix())
        for gone in self._histories.keys() - {deployment.id for deployment in deployments}:
            del self._histories[gone]
            self._paused_until.pop(gone, None)
        for deployment in deployments:
            if _follows_load(deployment):
                deployed = [replica for replica in replicas if replica.deployment_id == deployment.id]
                try:
                    await self._follow_model(deployment, deployed, loads.get(deployment.id, TotalLoad()))
                except StoreUnavailable:
                    raise
                except Exception:  # an error of one model must not stop the others
                    logger.exception("model %s cannot be scaled by its load", deployment.model_id)
        await self._relieve_memory(deployments, replicas, loads)

    async def _follow_model(self, deployment: Deployment, replicas: Sequence[Replica], load: TotalLoad) -> None:
        now = self._journal.clock.unix()
        ready = [replica for replica in replicas if replica.state is ReplicaState.READY]
        paused = _is_paused(deployment, now)
        if eviction.may_scale_to_zero(deployment, replicas) and not load.busy and not paused:
            used = eviction.last_used(deployment, replicas, load)
            if idle(deployment, used, now, self._settings.idle_seconds):
                reason = f"it got no requests for {self._settings.idle_seconds:g} s"
                await self._journal.scale_to_zero(deployment, reason)
                return
        history = self._histories.setdefault(deployment.id, RecommendationHistory())
        repeated = load.waiting and history.reported_at == load.reported_at  # waiting requests count once a report
        if ready and not repeated:
            history.reported_at = load.reported_at
            quiet = self._settings.quiet_seconds
            scaling = deployment.target.config.scaling
            history.add(recommend(self._sample(deployment, ready, load), deployment.replicas, scaling), quiet)
            change = decide(deployment.replicas, history.advice, quiet)
            if change is not None and not paused and now >= self._paused_until.get(deployment.id, 0.0):
                await self._scale(deployment, change)

    async def _scale(self, deployment: Deployment, change: Recommendation) -> None:
        reached = await self._journal.set_replicas(deployment, change.replicas, change.reason)
        if reached < change.replicas:
            logger.warning("model %s: no room for %d replicas", deployment.model_id, change.replicas)
            self._paused_until[deployment.id] = self._journal.clock.unix() + NO_CAPACITY_PAUSE_SECONDS

    def _sample(self, deployment: Deployment, ready: Sequence[Replica], load: TotalLoad) -> LoadSample:
        return LoadSample(
            self._journal.clock.steady(),
            len(ready),
            self._utilization(deployment, ready),
            load.in_flight,
            load.waiting if load.slots else 0,  # requests that wait for a model's start do not call for more replicas
            load.slots,
        )

    def _utilization(self, deployment: Deployment, ready: Sequence[Replica]) -> float | None:
        """Average CPU use in percent of the cores asked for, of the replicas whose start is over; None if unknown."""
        now = self._journal.clock.unix()
        used = [
            sum(measured) / len(measured)
            for replica in ready
            if replica.ready_at and now - replica.ready_at.timestamp() > START_EFFECT_SECONDS
            if (measured := self._usage.get(replica.id))
        ]
        millicores = deployment.target.config.resources.cpu_millicores
        return 100 * sum(used) / len(used) / millicores if used and millicores else None

    async def _relieve_memory(
        self, deployments: Sequence[Deployment], replicas: Sequence[Replica], loads: dict[str, TotalLoad]
    ) -> None:
        """Scales the longest idle model to zero where the machine's memory runs short, whatever models asked for."""
        now = self._journal.clock.steady()
        if now < self._next_relief_at or self._free_memory() >= self._min_free_memory:
            return
        for deployment in eviction.longest_idle(deployments, replicas, loads, self._journal.clock.unix())[:1]:
            logger.warning("the machine is short of memory: model %s is scaled to zero", deployment.model_id)
            await self._journal.scale_to_zero(deployment, "the machine is short of memory")
            self._next_relief_at = now + MEMORY_RELIEF_SECONDS


def _follows_load(deployment: Deployment) -> bool:
    scaling = deployment.target.config.scaling
    serves = deployment.replicas > 0 and not deployment.deletion and not deployment.failed
    return serves and (deployment.scales_to_zero or scaling.min_replicas < scaling.max_replicas)


def _is_paused(deployment: Deployment, now: float) -> bool:
    return deployment.autoscaling_paused_until is not None and now < deployment.autoscaling_paused_until
