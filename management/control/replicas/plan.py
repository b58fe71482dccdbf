"""What to do next for one deployment: desired against recorded state, as data. No clock, no database, no process here.

An update never takes a ready replica away before a new one is ready in its place, unless its strategy ends the old
replicas first. How many start while outdated ones serve, says the strategy (``rollout.py``); an outdated one is drained
for each new one that became ready. The one exception is a machine without capacity for another replica (its GPUs are
all taken): there an outdated replica is drained first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from management.backends.preparation import EnvironmentState
from management.control.evaluation import MarkFailed, RemoveRecord, RollBack
from management.control.replicas.rollout import Fleet, fleet_of, most_beside_old, must_end_first, not_ready, ready
from management.domain.records import Deletion, Deployment, Replica, ReplicaState

MAX_PAUSE_SECONDS: Final = 60.0
"""Longest pause in seconds between two attempts."""
STABLE_PAUSE_SECONDS: Final = 10.0
"""Seconds after a failure until a replica of the last stable revision is started while the target cannot start."""


@dataclass(frozen=True)
class Start:
    """Start one replica of the target revision."""


@dataclass(frozen=True)
class StartStable:
    """Start one replica of the last stable revision, in the place of one that ended while the target cannot start."""


@dataclass(frozen=True)
class CountFailedEnvironment:
    """Count a failure of the target revision, whose environment could not be made."""


@dataclass(frozen=True)
class Drain:
    """Send this replica no more requests, and stop it when it is idle."""

    replica_id: str


@dataclass(frozen=True)
class Stop:
    """Stop this replica at once: it never served, or the deletion is forced."""

    replica_id: str


Action = Start | StartStable | CountFailedEnvironment | Drain | Stop | RollBack | MarkFailed | RemoveRecord


def plan(  # noqa: PLR0913 - all that a decision depends on
    deployment: Deployment,
    replicas: Sequence[Replica],
    *,
    now: float,
    attempts: int,
    free_slots: int,
    environment: EnvironmentState = EnvironmentState.READY,
) -> list[Action]:
    """The actions for one deployment.

    Args:
        deployment: the desired state.
        replicas: the replicas of this deployment, oldest first.
        now: Unix time in seconds.
        attempts: failures in a row after which the target revision is rolled back or marked failed.
        free_slots: how many more replicas of the target revision the machine has exclusive devices for.
        environment: whether replicas of the target revision can start. Until then the stable revision serves on.
    """
    alive = [replica for replica in replicas if replica.state.alive]
    if deployment.deletion:
        return _delete(deployment.deletion, alive)
    if deployment.replicas == 0:
        return _stop_all(alive)
    fleet = fleet_of(deployment, alive)
    if _failed_too_often(deployment, fleet.current, attempts):
        return [RollBack() if deployment.last_stable and not deployment.is_stable else MarkFailed()]
    more = _number_to_start(deployment, fleet, now, attempts)
    if more > 0 and environment is EnvironmentState.FAILED:
        return [CountFailedEnvironment()]
    if more > 0 and environment is not EnvironmentState.READY:
        stable = _number_of_stable(deployment, replicas, now)
        return [*_surplus_stops(deployment, fleet), *[StartStable()] * max(0, min(stable, free_slots))]
    return _roll_out(deployment, fleet, more, free_slots)


def _roll_out(deployment: Deployment, fleet: Fleet, more: int, free_slots: int) -> list[Action]:
    if more > 0 and must_end_first(deployment, fleet):
        return [_drain_or_stop(replica) for replica in fleet.outdated]
    # A draining replica will free its slot, and a starting one will be ready in the place of an outdated one.
    no_capacity = more > 0 and free_slots <= 0 and not fleet.draining and not not_ready(fleet.current)
    return [*_to_stop(deployment, fleet, no_capacity=no_capacity), *[Start()] * max(0, min(more, free_slots))]


def is_at_rest(deployment: Deployment, replicas: Sequence[Replica]) -> bool:
    """Return whether neither a plan nor an observation of replicas that answer would change anything, at any time.

    False where that is not certain without a plan.
    """
    if deployment.deletion or not deployment.is_stable or deployment.failures or deployment.retry_at is not None:
        return False
    number, ready_state = deployment.target.number, ReplicaState.READY
    alive = [replica for replica in replicas if replica.state.alive]
    return len(alive) == deployment.replicas and all(
        replica.state is ready_state and replica.revision.number == number for replica in alive
    )


def needs_start(deployment: Deployment, replicas: Sequence[Replica], *, now: float, attempts: int) -> bool:
    """Return whether ``plan`` would start replicas of the target revision, given an environment and capacity."""
    if deployment.deletion or deployment.replicas == 0:
        return False
    fleet = fleet_of(deployment, replicas)
    if _failed_too_often(deployment, fleet.current, attempts):
        return False
    return _number_to_start(deployment, fleet, now, attempts) > 0


def _number_of_stable(deployment: Deployment, replicas: Sequence[Replica], now: float) -> int:
    """How many replicas of the last stable revision to start; none for a while after any failed."""
    stable, states = deployment.last_stable, [replica.state for replica in replicas]
    failed = [replica for replica in replicas if replica.state is ReplicaState.FAILED]
    recent = any(abs(now - replica.changed_at.timestamp()) < STABLE_PAUSE_SECONDS for replica in failed)
    if stable is None or deployment.is_stable or recent:
        return 0
    return deployment.replicas - sum(state.active for state in states)


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


def _to_stop(deployment: Deployment, fleet: Fleet, *, no_capacity: bool) -> list[Action]:
    """Stops outdated replicas that are not ready or are replaced, and current ones beyond the desired number."""
    waiting = [replica for replica in fleet.outdated if replica.state is not ReplicaState.READY]
    least = int(no_capacity and not waiting)  # an outdated replica frees its slot for a current one
    return [*map(_drain_or_stop, waiting), *_surplus_stops(deployment, fleet, least)]


def _surplus_stops(deployment: Deployment, fleet: Fleet, least: int = 0) -> list[Action]:
    """Stops ready outdated replicas, and current ones, beyond the desired number; at least that many outdated ones."""
    serving = [replica for replica in fleet.outdated if replica.state is ReplicaState.READY]
    surplus = max(least, ready(fleet.current) + len(serving) - deployment.replicas)
    return [*map(_drain_or_stop, serving[:surplus]), *map(_drain_or_stop, _surplus(deployment, fleet.current))]


def _surplus(deployment: Deployment, current: list[Replica]) -> list[Replica]:
    """Replicas beyond the desired number: those that are not ready first, then the newest."""
    by_worth = sorted(current, key=lambda replica: replica.state is not ReplicaState.READY)  # stable: oldest first
    return by_worth[deployment.replicas :][::-1]


def _number_to_start(deployment: Deployment, fleet: Fleet, now: float, attempts: int) -> int:
    """How many replicas to start now, if there is capacity for them, and once those are gone that must end first."""
    missing = deployment.replicas - len(fleet.current)
    if missing <= 0 or deployment.failed or _is_paused(deployment, now):
        return 0
    if (most := most_beside_old(deployment, fleet, missing)) is not None:
        return most
    if ready(fleet.current):
        return missing
    if deployment.failures:
        return 0 if not_ready(fleet.current) else 1  # after a failure, a single replica is tried
    return missing if deployment.is_stable else min(missing, attempts - not_ready(fleet.current))


def _is_paused(deployment: Deployment, now: float) -> bool:
    """Whether the next attempt is still to wait. Further ahead than the longest pause, the clock was set back since."""
    return deployment.retry_at is not None and 0 < deployment.retry_at - now <= MAX_PAUSE_SECONDS
