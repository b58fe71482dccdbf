"""What to do next for one deployment that an engine keeps: wish against condition, as data. No clock, no database here.

An engine counts, starts and replaces replicas by itself. The records follow it: they hold as many replicas as answer
there, all with the one address of the engine's own entrance, so that everybody else finds what a supervisor would have
written. A decision about the wish is written down alone, and its consequences at the next look: a kill between two of
them leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from management.backends.engine import Condition, Order, Standing
from management.domain.records import Deployment, Removal, Replica, ReplicaState

ELSEWHERE: Final = "somebody else ended it where it runs"
GONE: Final = "it is gone where it ran"


@dataclass(frozen=True)
class Apply:
    """Give the engine the order."""


@dataclass(frozen=True)
class Halt:
    """Have the engine end its replicas."""


@dataclass(frozen=True)
class Remove:
    """Have the engine forget it."""

    force: bool


@dataclass(frozen=True)
class Erase:
    """Forget the deployment: it was deleted, and the engine has nothing of it."""


@dataclass(frozen=True)
class RollBack:
    """Want again the revision that served before."""

    reason: str


@dataclass(frozen=True)
class GiveUp:
    """Order nothing more until the wish changes, or the engine says that it serves."""

    reason: str


@dataclass(frozen=True)
class Prove:
    """The wanted revision serves: it is what a failed update falls back to, and earlier failures are forgotten."""


@dataclass(frozen=True)
class Follow:
    """The engine chose this number of replicas, as it may."""

    replicas: int


@dataclass(frozen=True)
class Open:
    """Record so many replicas of the wanted revision, which are starting."""

    number: int


@dataclass(frozen=True)
class Move:
    """Record that these replicas came into another state."""

    replica_ids: tuple[str, ...]
    state: ReplicaState
    reason: str = ""


Step = Apply | Halt | Remove | Erase | RollBack | GiveUp | Prove | Follow | Open | Move


@dataclass(frozen=True)
class Sight:
    """What one look at a deployment came to."""

    condition: Condition
    order: Order
    """What the engine should have by now."""
    idle: bool = True
    """Whether no request is in flight to replicas that drain, or none is waited for any longer."""
    lasting: bool = False
    """Whether it has been unhealthy for longer than anybody waits."""

    @property
    def applied(self) -> bool:
        """Whether the engine holds the order."""
        return self.condition.mark == self.order.mark


def order_of(deployment: Deployment, now: float) -> Order:
    """The order for a deployment that is wanted: a number that somebody chose holds for a while, then the limits do."""
    scaling = deployment.wanted.config.scaling
    held = deployment.held_until is not None and now < deployment.held_until
    least, most = (deployment.replicas,) * 2 if held else (scaling.min_replicas, scaling.max_replicas)
    return Order(deployment.id, deployment.model_id, deployment.wanted, least, max(1, most))


def steer(deployment: Deployment, replicas: Sequence[Replica], sight: Sight) -> list[Step]:
    """The steps for one deployment, whose replicas these are, oldest first."""
    alive = [one for one in replicas if one.state.alive]
    if deployment.removal:
        return _removal(deployment.removal, alive, sight)
    if deployment.replicas == 0:
        return _ending(alive, sight, Halt())
    drained = _move([one for one in alive if not one.state.wanted], ReplicaState.GONE)
    rows = [one for one in alive if one.state.wanted]
    if deployment.gave_up:
        return [*drained, *_resigned(deployment, rows, sight)]
    return [*drained, *_wanted(deployment, rows, sight)]


def _removal(removal: Removal, alive: Sequence[Replica], sight: Sight) -> list[Step]:
    if sight.condition.standing is Standing.ABSENT:
        return _move(alive, ReplicaState.GONE) or [Erase()]
    if removal is Removal.FORCE:
        return [*_move(alive, ReplicaState.GONE), Remove(force=True)]
    return _ending(alive, sight, Remove(force=False))


def _ending(alive: Sequence[Replica], sight: Sight, last: Halt | Remove) -> list[Step]:
    """No new requests, then none in flight, then the engine is told."""
    if wanted := [one for one in alive if one.state.wanted]:
        begun = [one for one in wanted if one.state is not ReplicaState.STARTING]
        never = [one for one in wanted if one.state is ReplicaState.STARTING]
        return [*_move(begun, ReplicaState.DRAINING), *_move(never, ReplicaState.GONE)]
    if not sight.condition.standing.serves:
        ended = _move(alive, ReplicaState.GONE)
        return ended if isinstance(last, Halt) else [*ended, last]
    return [last] if sight.idle or not alive else []


def _resigned(deployment: Deployment, rows: Sequence[Replica], sight: Sight) -> list[Step]:
    """Of what was given up, the rows follow what is left of it; it is taken up again when it serves after all."""
    if sight.applied and sight.condition.standing is Standing.RUNNING:
        return [Prove()]
    if sight.condition.standing is Standing.PENDING and sight.applied:
        return []
    answering = sight.condition.ready or 0 if sight.condition.standing.serves else 0
    if sight.condition.standing is Standing.RUNNING:  # by the order before
        answering = max(1, len(rows) if sight.condition.ready is None else answering)
    ready = [one for one in rows if one.state is ReplicaState.READY][:answering]
    return _move(
        [one for one in rows if one not in ready], ReplicaState.FAILED, sight.condition.reason or deployment.reason
    )


def _wanted(deployment: Deployment, rows: Sequence[Replica], sight: Sight) -> list[Step]:
    standing = sight.condition.standing
    if not standing.serves:
        return _missing(deployment, rows, sight)
    if sight.condition.mark is None:  # it was made a moment ago
        return _awaited(deployment, rows, sight)
    if not sight.applied:
        return [Apply(), *_awaited(deployment, rows, sight)]
    match standing:
        case Standing.RUNNING:
            steps = _running(deployment, rows, sight)
        case Standing.PENDING:
            steps = _awaited(deployment, rows, sight)
        case Standing.UNHEALTHY if not sight.lasting or (sight.condition.ready and deployment.proven):
            steps = _silent(deployment, rows, sight)
        case _ if rows:
            steps = [hopeless(deployment, sight.condition.reason)]
        case _:  # it had been given up, and is wished anew
            steps = [Apply(), *_awaited(deployment, rows, sight)]
    return steps


def _missing(deployment: Deployment, rows: Sequence[Replica], sight: Sight) -> list[Step]:
    """Nothing of it answers, and nothing is on its way."""
    standing = sight.condition.standing
    served = [one for one in rows if one.state is not ReplicaState.STARTING]
    if served and sight.applied and standing is not Standing.ABSENT:
        return [GiveUp(ELSEWHERE)]
    lost = _move(served, ReplicaState.FAILED, GONE)
    begun = [one for one in rows if one not in served]
    told: list[Step] = [] if standing is Standing.ENDING else [Apply()]  # what ends cannot be started yet
    return [*lost, *told, *_awaited(deployment, begun, sight)]


def hopeless(deployment: Deployment, reason: str) -> RollBack | GiveUp:
    """What follows when the wanted revision does not come to serve."""
    return RollBack(reason) if deployment.served and not deployment.proven else GiveUp(reason)


def _awaited(deployment: Deployment, rows: Sequence[Replica], sight: Sight) -> list[Step]:
    """The wanted revision is on its way; what serves goes on serving."""
    fresh, old = _parted(deployment, rows)
    never = [one for one in old if one.state is ReplicaState.STARTING]
    return [*_move(never, ReplicaState.GONE), *_open(max(1, sight.order.least) - len(fresh))]


def _silent(deployment: Deployment, rows: Sequence[Replica], sight: Sight) -> list[Step]:
    """Some of it does not answer: as many rows as do get requests, and none more where it never served."""
    serving = [one for one in rows if one.state is ReplicaState.READY]
    resting = [one for one in rows if one.state is ReplicaState.SILENT]
    ready = len(serving) if sight.condition.ready is None else sight.condition.ready
    more = max(0, ready - len(serving)) if deployment.proven else 0
    return [*_move(serving[ready:], ReplicaState.SILENT), *_move(resting[:more], ReplicaState.READY)]


def _running(deployment: Deployment, rows: Sequence[Replica], sight: Sight) -> list[Step]:
    """The wanted revision serves, and nothing else does."""
    fresh, old = _parted(deployment, [one for one in rows if one.address in ("", sight.condition.address)])
    old += [one for one in rows if one not in (*fresh, *old)]  # it is reached by another name now
    counted, least = sight.condition.ready, sight.order.least
    ready = max(1, least if counted is None else counted)  # with none, the engine starts one for whoever asks
    serving = [one for one in fresh if one.state is ReplicaState.READY]
    coming = [one for one in fresh if one.state is not ReplicaState.READY]
    promoted = coming[: max(0, ready - len(serving))]
    waiting = coming[len(promoted) :]
    awaited = max(0, max(ready, least) - len(serving[:ready]) - len(promoted))
    return [
        *_move(old, ReplicaState.GONE),
        *_move(serving[ready:], ReplicaState.GONE),
        *_move(promoted, ReplicaState.READY),
        *_move(waiting[awaited:], ReplicaState.GONE),
        *_open(awaited - len(waiting)),
        *_learnt(deployment, sight),
    ]


def _learnt(deployment: Deployment, sight: Sight) -> list[Step]:
    new = not deployment.proven or deployment.failures or deployment.reason
    proved: list[Step] = [Prove()] if new else []
    counted, order = sight.condition.ready, sight.order
    if not counted or order.least == order.most:
        return proved
    number = max(1, min(order.most, max(order.least, counted)))
    return [*proved, *([Follow(number)] if number != deployment.replicas else [])]


def _parted(deployment: Deployment, rows: Sequence[Replica]) -> tuple[list[Replica], list[Replica]]:
    fresh = [one for one in rows if one.revision.number == deployment.wanted.number]
    return fresh, [one for one in rows if one.revision.number != deployment.wanted.number]


def _open(number: int) -> list[Step]:
    return [Open(number)] if number > 0 else []


def _move(rows: Sequence[Replica], state: ReplicaState, reason: str = "") -> list[Step]:
    return [Move(tuple(one.id for one in rows), state, reason)] if rows else []
