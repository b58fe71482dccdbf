"""How many replicas a model should have, from their load: pure decisions, without a clock and without a database.

The number by CPU is that of Kubernetes' Horizontal Pod Autoscaler: ``ceil(replicas * use / target)``, and no change
where the use is within a tenth of the target. Waiting requests, or replicas with nearly all slots taken, call for more
replicas whatever the CPU does: a model may wait for a GPU, or for its own lock. Where a model has a target concurrency,
all requests divided by it are a further number, with the same tolerance. The largest of these numbers counts. It grows
as soon as two samples in a row call for more. It shrinks when no sample in a whole quiet time has called for as many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from management.domain.records import Deployment, Scaling

TOLERANCE: Final = 0.1
"""Fraction of the target by which the CPU's use, or the concurrency, may differ from it without a change."""
TARGET_OCCUPANCY: Final = 0.8
"""Fraction of all slots that may be taken in the long run."""
MAX_GROWTH_FACTOR: Final = 2
"""Largest growth at a time, as a multiple of the ready replicas."""
SAMPLE_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two samples."""
MAX_SAMPLE_GAP_SECONDS: Final = 5.0
"""Seconds without a sample after which the history starts afresh."""


@dataclass(frozen=True)
class LoadSample:
    """The load of a model's ready replicas at one moment."""

    at: float
    """Seconds of a monotonic clock."""
    ready: int
    utilization: float | None
    """CPU use in percent of the cores asked for; None when nothing was measured."""
    in_flight: int
    waiting: int
    slots: int
    """Requests that the replicas may work on at a time."""


@dataclass(frozen=True)
class Recommendation:
    """The number of replicas that one sample calls for, and why."""

    at: float
    replicas: int
    reason: str


@dataclass
class RecommendationHistory:
    """The recommendations of the last samples of one model."""

    advice: deque[Recommendation] = field(default_factory=deque)
    reported_at: float = 0.0
    """Unix time of the load report that the last sample used."""

    def add(self, recommendation: Recommendation, quiet_seconds: float) -> None:
        """Keeps the recommendations of one quiet time, and the last one before it as proof that it is whole."""
        if self.advice and recommendation.at - self.advice[-1].at > MAX_SAMPLE_GAP_SECONDS:
            self.advice.clear()
        self.advice.append(recommendation)
        while len(self.advice) > 1 and self.advice[1].at <= recommendation.at - quiet_seconds:
            self.advice.popleft()


def recommend(load: LoadSample, desired: int, scaling: Scaling) -> Recommendation:
    """The number of replicas that this load calls for, within the limits; at least one.

    Where fewer replicas than ``desired`` are ready, the limit of growth does not lower the desired number.
    """
    numbers = [_by_cpu(load, scaling.target_cpu_utilization), _by_slots(load)]
    if scaling.target_concurrency is not None:
        numbers.append(_by_concurrency(load, scaling.target_concurrency))
    needed, reason = max(numbers, key=lambda number: number[0])
    grown = min(needed, max(load.ready * MAX_GROWTH_FACTOR, desired))
    return Recommendation(load.at, max(1, scaling.clamped(grown)), reason)


def decide(desired: int, advice: Sequence[Recommendation], quiet_seconds: float) -> Recommendation | None:
    """The change to make now, if any: up to what the last two samples agree on, down to the most of a quiet time."""
    if len(advice) < 2:
        return None
    last_two = min(advice[-1], advice[-2], key=lambda recommendation: recommendation.replicas)
    if last_two.replicas > desired:
        return last_two
    most = max(advice, key=lambda recommendation: (recommendation.replicas, recommendation.at))
    is_quiet_time_over = advice[-1].at - advice[0].at >= quiet_seconds
    return most if is_quiet_time_over and most.replicas < desired else None


def idle(deployment: Deployment, last_used: float, now: float, idle_seconds: float) -> bool:
    """Whether a model on demand was last used at least ``idle_seconds`` ago (Unix times)."""
    return deployment.scales_to_zero and now - last_used >= idle_seconds


def _by_cpu(load: LoadSample, target: int) -> tuple[int, str]:
    if load.utilization is None:
        return load.ready, "nothing is measured"
    needed = _proportional(load.ready, load.utilization / target)
    return needed, f"CPU at {load.utilization:.0f} % of what was asked for, target {target} %, {load.ready} ready"


def _by_concurrency(load: LoadSample, target: int) -> tuple[int, str]:
    requests = load.in_flight + load.waiting
    needed = _proportional(load.ready, requests / (target * load.ready))
    return needed, f"{requests} requests in flight or waiting, target {target} for each replica, {load.ready} ready"


def _proportional(ready: int, ratio: float) -> int:
    """The number for a load that is ``ratio`` times the target."""
    return ready if abs(ratio - 1) <= TOLERANCE else ceil(ready * ratio)


def _by_slots(load: LoadSample) -> tuple[int, str]:
    """No more than are ready while no request waits: slots may be taken for only an instant."""
    needed = ceil(load.ready * (load.in_flight + load.waiting) / max(1, load.slots) / TARGET_OCCUPANCY)
    if not load.waiting:
        return min(load.ready, needed), f"{load.in_flight} of {load.slots} places taken, {load.ready} ready"
    return max(load.ready + 1, needed), f"{load.waiting} requests wait, {load.ready} ready"
