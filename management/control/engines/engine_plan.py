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

from management.backends.engine import EnginePhase, EngineSpec, EngineStatus
from management.control.evaluation import MarkFailed, RemoveRecord, RollBack
from management.domain.records import Deletion, Deployment, Replica, ReplicaState

ELSEWHERE: Final = "somebody else ended it where it runs"
GONE: Final = "it is gone where it ran"


@dataclass(frozen=True)
class Apply:
    """Give the engine the order."""


@dataclass(frozen=True)
class Suspend:
    """Have the engine end its replicas."""


@dataclass(frozen=True)
class Delete:
    """Have the engine forget it."""

    force: bool


@dataclass(frozen=True)
class MarkStable:
    """The wanted revision serves: it is what a failed update falls back to, and earlier failures are forgotten."""


@dataclass(frozen=True)
class AdoptReplicas:
    """The engine chose this number of replicas, as it may."""

    replicas: int


@dataclass(frozen=True)
class RecordStarting:
    """Record so many replicas of the wanted revision, which are starting."""

    number: int


@dataclass(frozen=True)
class ChangeState:
    """Record that these replicas came into another state."""

    replica_ids: tuple[str, ...]
    state: ReplicaState
    reason: str = ""


EngineAction = (
    Apply
    | Suspend
    | Delete
    | RemoveRecord
    | RollBack
    | MarkFailed
    | MarkStable
    | AdoptReplicas
    | RecordStarting
    | ChangeState
)


@dataclass(frozen=True)
class Snapshot:
    """What one look at a deployment came to."""

    status: EngineStatus
    spec: EngineSpec
    """What the engine should have by now."""
    idle: bool = True
    """Whether no request is in flight to replicas that drain, or none is waited for any longer."""
    lasting: bool = False
    """Whether it has been unhealthy for longer than anybody waits."""

    @property
    def applied(self) -> bool:
        """Whether the engine holds the order."""
        return self.status.mark == self.spec.mark


def spec_of(deployment: Deployment, now: float) -> EngineSpec:
    """The order for a deployment that is wanted: a number that somebody chose holds for a while, then the limits do."""
    scaling = deployment.target.config.scaling
    held = deployment.autoscaling_paused_until is not None and now < deployment.autoscaling_paused_until
    least, most = (deployment.replicas,) * 2 if held else (scaling.min_replicas, scaling.max_replicas)
    return EngineSpec(deployment.id, deployment.model_id, deployment.target, least, max(1, most))


def plan_engine(deployment: Deployment, replicas: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    """The steps for one deployment, whose replicas these are, oldest first."""
    alive = [one for one in replicas if one.state.alive]
    if deployment.deletion:
        return _removal(deployment.deletion, alive, sight)
    if deployment.replicas == 0:
        return _ending(alive, sight, Suspend())
    drained = _move([one for one in alive if not one.state.active], ReplicaState.GONE)
    rows = [one for one in alive if one.state.active]
    if deployment.failed:
        return [*drained, *_resigned(deployment, rows, sight)]
    return [*drained, *_wanted(deployment, rows, sight)]


def _removal(removal: Deletion, alive: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    if sight.status.phase is EnginePhase.ABSENT:
        return _move(alive, ReplicaState.GONE) or [RemoveRecord()]
    if removal is Deletion.FORCED:
        return [*_move(alive, ReplicaState.GONE), Delete(force=True)]
    return _ending(alive, sight, Delete(force=False))


def _ending(alive: Sequence[Replica], sight: Snapshot, last: Suspend | Delete) -> list[EngineAction]:
    """No new requests, then none in flight, then the engine is told."""
    if wanted := [one for one in alive if one.state.active]:
        begun = [one for one in wanted if one.state is not ReplicaState.STARTING]
        never = [one for one in wanted if one.state is ReplicaState.STARTING]
        return [*_move(begun, ReplicaState.DRAINING), *_move(never, ReplicaState.GONE)]
    if not sight.status.phase.serves:
        ended = _move(alive, ReplicaState.GONE)
        return ended if isinstance(last, Suspend) else [*ended, last]
    return [last] if sight.idle or not alive else []


def _resigned(deployment: Deployment, rows: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    """Of what was given up, the rows follow what is left of it; it is taken up again when it serves after all."""
    if sight.applied and sight.status.phase is EnginePhase.RUNNING:
        return [MarkStable()]
    if sight.status.phase is EnginePhase.PENDING and sight.applied:
        return []
    answering = sight.status.ready or 0 if sight.status.phase.serves else 0
    if sight.status.phase is EnginePhase.RUNNING:  # by the order before
        answering = max(1, len(rows) if sight.status.ready is None else answering)
    ready = [one for one in rows if one.state is ReplicaState.READY][:answering]
    return _move(
        [one for one in rows if one not in ready], ReplicaState.FAILED, sight.status.reason or deployment.reason
    )


def _wanted(deployment: Deployment, rows: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    standing = sight.status.phase
    if not standing.serves:
        return _missing(deployment, rows, sight)
    if sight.status.mark is None:  # it was made a moment ago
        return _awaited(deployment, rows, sight)
    if not sight.applied:
        return [Apply(), *_awaited(deployment, rows, sight)]
    match standing:
        case EnginePhase.RUNNING:
            steps = _running(deployment, rows, sight)
        case EnginePhase.PENDING:
            steps = _awaited(deployment, rows, sight)
        case EnginePhase.UNHEALTHY if not sight.lasting or (sight.status.ready and deployment.is_stable):
            steps = _silent(deployment, rows, sight)
        case _ if rows:
            steps = [rollback_or_fail(deployment, sight.status.reason)]
        case _:  # it had been given up, and is wished anew
            steps = [Apply(), *_awaited(deployment, rows, sight)]
    return steps


def _missing(deployment: Deployment, rows: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    """Nothing of it answers, and nothing is on its way."""
    standing = sight.status.phase
    served = [one for one in rows if one.state is not ReplicaState.STARTING]
    if served and sight.applied and standing is not EnginePhase.ABSENT:
        return [MarkFailed(ELSEWHERE)]
    lost = _move(served, ReplicaState.FAILED, GONE)
    begun = [one for one in rows if one not in served]
    told: list[EngineAction] = [] if standing is EnginePhase.ENDING else [Apply()]  # what ends cannot be started yet
    return [*lost, *told, *_awaited(deployment, begun, sight)]


def rollback_or_fail(deployment: Deployment, reason: str) -> RollBack | MarkFailed:
    """What follows when the wanted revision does not come to serve."""
    return RollBack(reason) if deployment.last_stable and not deployment.is_stable else MarkFailed(reason)


def _awaited(deployment: Deployment, rows: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    """The wanted revision is on its way; what serves goes on serving."""
    fresh, old = _parted(deployment, rows)
    never = [one for one in old if one.state is ReplicaState.STARTING]
    return [*_move(never, ReplicaState.GONE), *_open(max(1, sight.spec.least) - len(fresh))]


def _silent(deployment: Deployment, rows: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    """Some of it does not answer: as many rows as do get requests, and none more where it never served."""
    serving = [one for one in rows if one.state is ReplicaState.READY]
    resting = [one for one in rows if one.state is ReplicaState.UNRESPONSIVE]
    ready = len(serving) if sight.status.ready is None else sight.status.ready
    more = max(0, ready - len(serving)) if deployment.is_stable else 0
    return [*_move(serving[ready:], ReplicaState.UNRESPONSIVE), *_move(resting[:more], ReplicaState.READY)]


def _running(deployment: Deployment, rows: Sequence[Replica], sight: Snapshot) -> list[EngineAction]:
    """The wanted revision serves, and nothing else does."""
    fresh, old = _parted(deployment, [one for one in rows if one.address in ("", sight.status.address)])
    old += [one for one in rows if one not in (*fresh, *old)]  # it is reached by another name now
    counted, least = sight.status.ready, sight.spec.least
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


def _learnt(deployment: Deployment, sight: Snapshot) -> list[EngineAction]:
    new = not deployment.is_stable or deployment.failures or deployment.reason
    proved: list[EngineAction] = [MarkStable()] if new else []
    counted, order = sight.status.ready, sight.spec
    if not counted or order.least == order.most:
        return proved
    number = max(1, min(order.most, max(order.least, counted)))
    return [*proved, *([AdoptReplicas(number)] if number != deployment.replicas else [])]


def _parted(deployment: Deployment, rows: Sequence[Replica]) -> tuple[list[Replica], list[Replica]]:
    fresh = [one for one in rows if one.revision.number == deployment.target.number]
    return fresh, [one for one in rows if one.revision.number != deployment.target.number]


def _open(number: int) -> list[EngineAction]:
    return [RecordStarting(number)] if number > 0 else []


def _move(rows: Sequence[Replica], state: ReplicaState, reason: str = "") -> list[EngineAction]:
    return [ChangeState(tuple(one.id for one in rows), state, reason)] if rows else []
