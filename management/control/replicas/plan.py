"""What to do next for one deployment: desired against recorded state, as data. No clock, no database, no process here.

An update never takes a ready replica away before a new one is ready in its place. While outdated replicas serve, at
most one replica more than desired is started at a time, and an outdated one is drained for each new one that became
ready. The one exception is a machine without capacity for another replica (its GPUs are all taken): there an outdated
replica is drained first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from management.control.evaluation import MarkFailed, RemoveRecord, RollBack
from management.domain.records import Deletion, Deployment, Replica, ReplicaState

MAX_PAUSE_SECONDS: Final = 60.0
"""Longest pause in seconds between two attempts."""


@dataclass(frozen=True)
class Start:
    """Start one replica of the target revision."""


@dataclass(frozen=True)
class Drain:
    """Send this replica no more requests, and stop it when it is idle."""

    replica_id: str


@dataclass(frozen=True)
class Stop:
    """Stop this replica at once: it never served, or the deletion is forced."""

    replica_id: str


Action = Start | Drain | Stop | RollBack | MarkFailed | RemoveRecord


def plan(
    deployment: Deployment, replicas: Sequence[Replica], *, now: float, attempts: int, free_slots: int
) -> list[Action]:
    """The actions for one deployment.

    Args:
        deployment: the desired state.
        replicas: the replicas of this deployment, oldest first.
        now: Unix time in seconds.
        attempts: failures in a row after which the target revision is rolled back or marked failed.
        free_slots: how many more replicas of the target revision the machine has exclusive devices for.
    """
    alive = [replica for replica in replicas if replica.state.alive]
    if deployment.deletion:
        return _delete(deployment.deletion, alive)
    if deployment.replicas == 0:
        return _stop_all(alive)
    active = [replica for replica in alive if replica.state.active]
    current, outdated = _by_revision(deployment, active)
    if _failed_too_often(deployment, current, attempts):
        return [RollBack() if deployment.last_stable and not deployment.is_stable else MarkFailed()]
    more = _number_to_start(deployment, current, outdated, now, attempts)
    no_capacity = more > 0 and free_slots <= 0 and len(active) == len(alive)  # a draining replica will free its slot
    return [
        *_to_stop(deployment, current, outdated, no_capacity=no_capacity),
        *[Start()] * max(0, min(more, free_slots)),
    ]


def _delete(deletion: Deletion, alive: Sequence[Replica]) -> list[Action]:
    if not alive:
        return [RemoveRecord()]
    if deletion is Deletion.FORCED:
        return [Stop(replica.id) for replica in alive]
    return _stop_all(alive)


def _stop_all(alive: Sequence[Replica]) -> list[Action]:
    return [_drain_or_stop(replica) for replica in alive if replica.state is not ReplicaState.DRAINING]


def _drain_or_stop(replica: Replica) -> Action:
    """Drains a replica that has served: it may be working on requests even where it does not answer."""
    return Stop(replica.id) if replica.state is ReplicaState.STARTING else Drain(replica.id)


def _failed_too_often(deployment: Deployment, current: list[Replica], attempts: int) -> bool:
    """Whether the target revision failed too often to be tried again.

    A stable revision never does while it has an active replica.
    """
    if deployment.failed or deployment.failures < attempts:
        return False
    return not (deployment.is_stable and current)


def _by_revision(deployment: Deployment, replicas: Sequence[Replica]) -> tuple[list[Replica], list[Replica]]:
    """The replicas of the target revision, and those of others."""
    current = [replica for replica in replicas if replica.revision.number == deployment.target.number]
    return current, [replica for replica in replicas if replica.revision.number != deployment.target.number]


def _to_stop(
    deployment: Deployment, current: list[Replica], outdated: list[Replica], *, no_capacity: bool
) -> list[Action]:
    """Stops outdated replicas that are not ready or are replaced, and current ones beyond the desired number."""
    waiting = [replica for replica in outdated if replica.state is not ReplicaState.READY]
    serving = [replica for replica in outdated if replica.state is ReplicaState.READY]
    surplus = max(0, _ready(current) + len(serving) - deployment.replicas)
    if no_capacity and not waiting and not surplus:
        surplus = 1  # an outdated replica frees its slot for a current one
    return [*map(_drain_or_stop, (*waiting, *serving[:surplus])), *map(_drain_or_stop, _surplus(deployment, current))]


def _surplus(deployment: Deployment, current: list[Replica]) -> list[Replica]:
    """Replicas beyond the desired number: those that are not ready first, then the newest."""
    by_worth = sorted(current, key=lambda replica: replica.state is not ReplicaState.READY)  # stable: oldest first
    return by_worth[deployment.replicas :][::-1]


def _number_to_start(
    deployment: Deployment, current: list[Replica], outdated: list[Replica], now: float, attempts: int
) -> int:
    """How many replicas to start now, if there is capacity for them."""
    missing = deployment.replicas - len(current)
    if missing <= 0 or deployment.failed or _is_paused(deployment, now):
        return 0
    if _ready(outdated):
        return min(missing, 1 - _not_ready(current))  # one at a time while outdated ones serve
    if _ready(current):
        return missing
    if deployment.failures:
        return 0 if _not_ready(current) else 1  # after a failure, a single replica is tried
    return missing if deployment.is_stable else min(missing, attempts - _not_ready(current))


def _is_paused(deployment: Deployment, now: float) -> bool:
    """Whether the next attempt is still to wait. Further ahead than the longest pause, the clock was set back since."""
    return deployment.retry_at is not None and 0 < deployment.retry_at - now <= MAX_PAUSE_SECONDS


def _ready(replicas: Sequence[Replica]) -> int:
    return sum(replica.state is ReplicaState.READY for replica in replicas)


def _not_ready(replicas: Sequence[Replica]) -> int:
    return len(replicas) - _ready(replicas)
