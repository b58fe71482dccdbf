"""What to do next for one deployment: wish against actual, as data. No clock, no database, no process in here.

An update never takes a ready replica away before a new one is ready in its place: of new replicas at most one more
than wished is started at a time while old ones serve, and an old one is drained for each new one that became ready.
The one exception is a machine on which there is no room for one more (its GPUs are all taken): there an old replica
makes place first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from management.control.evaluation import MarkFailed, RemoveRecord, RollBack
from management.domain.records import Deletion, Deployment, Replica, ReplicaState

LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries at most."""


@dataclass(frozen=True)
class Start:
    """Start one replica of the wanted revision."""


@dataclass(frozen=True)
class Drain:
    """Send this replica nothing more, and end it when it is idle."""

    replica_id: str


@dataclass(frozen=True)
class Stop:
    """End this replica at once: it serves nobody, or was to be forced."""

    replica_id: str


Action = Start | Drain | Stop | RollBack | MarkFailed | RemoveRecord


def plan(
    deployment: Deployment, replicas: Sequence[Replica], *, now: float, attempts: int, free_slots: int
) -> list[Action]:
    """The actions for one deployment.

    Args:
        deployment: its wish.
        replicas: those of this deployment, oldest first.
        now: Unix time in seconds.
        attempts: failures in a row after which it is given up; of one that was ready, when nothing of it is left.
        free_slots: how many more replicas of the wanted revision the machine has exclusive devices for.
    """
    alive = [one for one in replicas if one.state.alive]
    if deployment.deletion:
        return _removal(deployment.deletion, alive)
    if deployment.replicas == 0:
        return _ending(alive)
    staying = [one for one in alive if one.state.active]
    fresh, old = _parted(deployment, staying)
    if _hopeless(deployment, fresh, attempts):
        return [RollBack() if deployment.last_stable and not deployment.is_stable else MarkFailed()]
    more = _missing(deployment, fresh, old, now, attempts)
    cramped = more > 0 and free_slots <= 0 and len(staying) == len(alive)  # what drains makes place already
    return [*_fewer(deployment, fresh, old, cramped=cramped), *[Start()] * max(0, min(more, free_slots))]


def _removal(removal: Deletion, alive: Sequence[Replica]) -> list[Action]:
    if not alive:
        return [RemoveRecord()]
    if removal is Deletion.FORCED:
        return [Stop(one.id) for one in alive]
    return _ending(alive)


def _ending(alive: Sequence[Replica]) -> list[Action]:
    return [_end(one) for one in alive if one.state is not ReplicaState.DRAINING]


def _end(replica: Replica) -> Action:
    """What has served may be working still, also where it does not answer."""
    return Stop(replica.id) if replica.state is ReplicaState.STARTING else Drain(replica.id)


def _hopeless(deployment: Deployment, fresh: list[Replica], attempts: int) -> bool:
    """Whether the wanted revision failed too often to be tried again.

    One that has been ready is not given up while any replica of it serves, or may come to serve.
    """
    if deployment.failed or deployment.failures < attempts:
        return False
    return not (deployment.is_stable and fresh)


def _parted(deployment: Deployment, replicas: Sequence[Replica]) -> tuple[list[Replica], list[Replica]]:
    fresh = [one for one in replicas if one.revision.number == deployment.target.number]
    return fresh, [one for one in replicas if one.revision.number != deployment.target.number]


def _fewer(deployment: Deployment, fresh: list[Replica], old: list[Replica], *, cramped: bool) -> list[Action]:
    """Ends what is too much: old replicas that never came to serve, old ones that are replaced, then the newest."""
    waiting = [one for one in old if one.state is not ReplicaState.READY]
    serving = [one for one in old if one.state is ReplicaState.READY]
    surplus = max(0, _ready(fresh) + len(serving) - deployment.replicas)
    if cramped and not waiting and not surplus:
        surplus = 1  # no room for one more: an old one makes place
    return [*map(_end, (*waiting, *serving[:surplus])), *map(_end, _excess(deployment, fresh))]


def _excess(deployment: Deployment, fresh: list[Replica]) -> list[Replica]:
    """Those beyond the wish: first what is still starting, the newest first."""
    by_worth = sorted(fresh, key=lambda one: one.state is not ReplicaState.READY)  # stable: oldest first in each
    return by_worth[deployment.replicas :][::-1]


def _missing(deployment: Deployment, fresh: list[Replica], old: list[Replica], now: float, attempts: int) -> int:
    """How many are to be started now, if there is room for them."""
    missing = deployment.replicas - len(fresh)
    if missing <= 0 or deployment.failed or _pauses(deployment, now):
        return 0
    if _ready(old):
        return min(missing, 1 - _coming(fresh))  # one after the other while old ones serve
    if _ready(fresh):
        return missing
    if deployment.failures:
        return 0 if _coming(fresh) else 1  # what failed before is tried with one
    return missing if deployment.is_stable else min(missing, attempts - _coming(fresh))


def _pauses(deployment: Deployment, now: float) -> bool:
    """Whether it is to be tried again later; further ahead than any pause is long, the clock was set back since."""
    return deployment.retry_at is not None and 0 < deployment.retry_at - now <= LONGEST_PAUSE


def _ready(replicas: Sequence[Replica]) -> int:
    return sum(one.state is ReplicaState.READY for one in replicas)


def _coming(replicas: Sequence[Replica]) -> int:
    return len(replicas) - _ready(replicas)
