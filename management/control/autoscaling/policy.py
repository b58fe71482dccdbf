"""How many replicas a model should have, from what they had to do: pure decisions, no clock, no database in here.

The number by CPU is the one of Kubernetes' Horizontal Pod Autoscaler: ``ceil(replicas * use / target)``, and none where
the use is within a tenth of the target. Requests that wait, or replicas with nearly all their places taken, ask for
more whatever the CPU does: a model may wait for a GPU, or for its own lock. Two looks in a row that ask for more are
followed at once; less is made of it when nothing asked for more in a whole quiet time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from management.domain.records import Deployment, Scaling

TOLERANCE: Final = 0.1
"""Of the target, within which the use of the CPU asks for no change."""
BUSY: Final = 0.8
"""Of all places, that may be taken in the long run."""
MOST_GROWTH: Final = 2
"""Times as many replicas as are ready, that are asked for at a time."""
LOOK_SECONDS: Final = 1.0
"""Between two looks."""
GAP_SECONDS: Final = 5.0
"""Without a look, after which what was seen before is no longer a whole."""


@dataclass(frozen=True)
class LoadSample:
    """What the ready replicas of a model had to do at one look."""

    at: float
    """Seconds, by a clock that nobody sets."""
    ready: int
    utilization: float | None
    """Percent of the CPU that they asked for; None when nothing was measured."""
    in_flight: int
    waiting: int
    slots: int
    """Requests that they may work on at a time."""


@dataclass(frozen=True)
class Recommendation:
    """So many replicas, by one look, and why."""

    at: float
    replicas: int
    reason: str


@dataclass
class RecommendationHistory:
    """The advice of the last looks at one model."""

    advice: deque[Recommendation] = field(default_factory=deque)
    told_at: float = 0.0
    """Unix time of the report that the last look had."""

    def add(self, one: Recommendation, quiet_seconds: float) -> None:
        """Remembers a quiet time, and the one look before it that shows that it was whole."""
        if self.advice and one.at - self.advice[-1].at > GAP_SECONDS:
            self.advice.clear()
        self.advice.append(one)
        while len(self.advice) > 1 and self.advice[1].at <= one.at - quiet_seconds:
            self.advice.popleft()


def recommend(load: LoadSample, wish: int, scaling: Scaling) -> Recommendation:
    """How many replicas this load asks for, of those that are allowed; at least one, which is another's to end.

    Of a ``wish`` that has not come true yet, nothing is taken back because of the few that are ready.
    """
    numbers = [_by_cpu(load, scaling.target_cpu_utilization), _by_slots(load)]
    wanted, reason = max(numbers, key=lambda one: one[0])
    grown = min(wanted, max(load.ready * MOST_GROWTH, wish))
    return Recommendation(load.at, max(1, scaling.clamped(grown)), reason)


def decide(wish: int, advice: Sequence[Recommendation], quiet_seconds: float) -> Recommendation | None:
    """The change to make now, if any: up to what the last two looks agree on, down to the most of a quiet time."""
    if len(advice) < 2:
        return None
    last_two = min(advice[-1], advice[-2], key=lambda one: one.replicas)
    if last_two.replicas > wish:
        return last_two
    most = max(advice, key=lambda one: (one.replicas, one.at))
    whole = advice[-1].at - advice[0].at >= quiet_seconds
    return most if whole and most.replicas < wish else None


def idle(deployment: Deployment, last_used: float, now: float, idle_seconds: float) -> bool:
    """Whether nobody has wanted anything of a model on demand for so long (Unix times)."""
    return deployment.scales_to_zero and now - last_used >= idle_seconds


def _by_cpu(load: LoadSample, target: int) -> tuple[int, str]:
    if load.utilization is None:
        return load.ready, "nothing is measured"
    ratio = load.utilization / target
    wanted = load.ready if abs(ratio - 1) <= TOLERANCE else ceil(load.ready * ratio)
    return wanted, f"CPU at {load.utilization:.0f} % of what was asked for, target {target} %, {load.ready} ready"


def _by_slots(load: LoadSample) -> tuple[int, str]:
    """Never more than there are while nobody waits: places may be taken for an instant."""
    wanted = ceil(load.ready * (load.in_flight + load.waiting) / max(1, load.slots) / BUSY)
    if not load.waiting:
        return min(load.ready, wanted), f"{load.in_flight} of {load.slots} places taken, {load.ready} ready"
    return max(load.ready + 1, wanted), f"{load.waiting} requests wait, {load.ready} ready"
