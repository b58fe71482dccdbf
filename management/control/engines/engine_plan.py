"""What to do next for one deployment that an engine keeps: desired state against the engine's status. No clock, no I/O.

An engine counts, starts and replaces replicas by itself. The records follow it: they hold as many replicas as answer
there, all with the one address of the engine's own entrance, so that all other parts find the same records as under a
supervisor. A decision about the desired state is recorded alone, and its consequences in the next turn: a kill between
the two leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from management.backends.engine import EnginePhase, EngineSpec, EngineStatus
from management.control.evaluation import MarkFailed, RemoveRecord, RollBack
from management.domain.records import Deletion, Deployment, Replica, ReplicaState

STOPPED_ELSEWHERE: Final = "it was stopped on the platform where it runs"
"""Reason recorded for a deployment that was ended on the engine's platform, past this API."""
GONE: Final = "it is gone from the platform where it ran"
"""Reason recorded for replicas that the engine no longer has."""


@dataclass(frozen=True)
class Apply:
    """Apply the spec to the engine."""


@dataclass(frozen=True)
class Suspend:
    """Have the engine stop its replicas."""


@dataclass(frozen=True)
class Delete:
    """Have the engine delete the deployment."""

    force: bool


@dataclass(frozen=True)
class MarkStable:
    """Mark the target revision as stable, the one that a failed update rolls back to, and forget earlier failures."""


@dataclass(frozen=True)
class AdoptReplicas:
    """Record the number of replicas that the engine chose within its limits."""

    replicas: int


@dataclass(frozen=True)
class RecordStarting:
    """Record this number of starting replicas of the target revision."""

    number: int


@dataclass(frozen=True)
class ChangeState:
    """Record that these replicas are in another state."""

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
    """What one turn observed of a deployment."""

    status: EngineStatus
    spec: EngineSpec
    """The spec that the engine should have."""
    idle: bool = True
    """Whether no request is in flight to draining replicas, or the time for them is up."""
    lasting: bool = False
    """Whether the deployment has been unhealthy for longer than a start may take."""

    @property
    def applied(self) -> bool:
        """Whether the engine has the desired spec."""
        return self.status.mark == self.spec.mark


def spec_of(deployment: Deployment, now: float) -> EngineSpec:
    """The spec for a deployment: with the number that a caller chose while autoscaling is paused, else its limits."""
    scaling = deployment.target.config.scaling
    paused = deployment.autoscaling_paused_until is not None and now < deployment.autoscaling_paused_until
    least, most = (deployment.replicas,) * 2 if paused else (scaling.min_replicas, scaling.max_replicas)
    return EngineSpec(deployment.id, deployment.model_id, deployment.target, least, max(1, most))


def plan_engine(deployment: Deployment, replicas: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    """The actions for one deployment, whose replicas these are, oldest first."""
    alive = [replica for replica in replicas if replica.state.alive]
    if deployment.deletion:
        return _delete(deployment.deletion, alive, snapshot)
    if deployment.replicas == 0:
        return _end(alive, snapshot, Suspend())
    drained = _change_state([replica for replica in alive if not replica.state.active], ReplicaState.GONE)
    rows = [replica for replica in alive if replica.state.active]
    if deployment.failed:
        return [*drained, *_plan_failed(deployment, rows, snapshot)]
    return [*drained, *_plan_desired(deployment, rows, snapshot)]


def _delete(deletion: Deletion, alive: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    if snapshot.status.phase is EnginePhase.ABSENT:
        return _change_state(alive, ReplicaState.GONE) or [RemoveRecord()]
    if deletion is Deletion.FORCED:
        return [*_change_state(alive, ReplicaState.GONE), Delete(force=True)]
    return _end(alive, snapshot, Delete(force=False))


def _end(alive: Sequence[Replica], snapshot: Snapshot, last: Suspend | Delete) -> list[EngineAction]:
    """Drains the replicas first, and has the engine end them when no request is in flight."""
    if active := [replica for replica in alive if replica.state.active]:
        serving = [replica for replica in active if replica.state is not ReplicaState.STARTING]
        starting = [replica for replica in active if replica.state is ReplicaState.STARTING]
        return [*_change_state(serving, ReplicaState.DRAINING), *_change_state(starting, ReplicaState.GONE)]
    if not snapshot.status.phase.serves:
        ended = _change_state(alive, ReplicaState.GONE)
        return ended if isinstance(last, Suspend) else [*ended, last]
    return [last] if snapshot.idle or not alive else []


def _plan_failed(deployment: Deployment, rows: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    """The records of a failed deployment follow what still answers; it is marked stable when it serves after all."""
    if snapshot.applied and snapshot.status.phase is EnginePhase.RUNNING:
        return [MarkStable()]
    if snapshot.status.phase is EnginePhase.PENDING and snapshot.applied:
        return []
    answering = snapshot.status.ready or 0 if snapshot.status.phase.serves else 0
    if snapshot.status.phase is EnginePhase.RUNNING:  # with the spec before
        answering = max(1, len(rows) if snapshot.status.ready is None else answering)
    ready = [replica for replica in rows if replica.state is ReplicaState.READY][:answering]
    lost = [replica for replica in rows if replica not in ready]
    return _change_state(lost, ReplicaState.FAILED, snapshot.status.reason or deployment.reason)


def _plan_desired(deployment: Deployment, rows: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    phase = snapshot.status.phase
    if not phase.serves:
        return _plan_missing(deployment, rows, snapshot)
    if snapshot.status.mark is None:  # the engine has just created it
        return _plan_pending(deployment, rows, snapshot)
    if not snapshot.applied:
        return [Apply(), *_plan_pending(deployment, rows, snapshot)]
    match phase:
        case EnginePhase.RUNNING:
            steps = _plan_running(deployment, rows, snapshot)
        case EnginePhase.PENDING:
            steps = _plan_pending(deployment, rows, snapshot)
        case EnginePhase.UNHEALTHY if not snapshot.lasting or (snapshot.status.ready and deployment.is_stable):
            steps = _plan_unhealthy(deployment, rows, snapshot)
        case _ if rows:
            steps = [rollback_or_fail(deployment, snapshot.status.reason)]
        case _:  # it had failed, and its desired state has changed since
            steps = [Apply(), *_plan_pending(deployment, rows, snapshot)]
    return steps


def _plan_missing(deployment: Deployment, rows: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    """No replica answers, and none is on its way."""
    phase = snapshot.status.phase
    served = [replica for replica in rows if replica.state is not ReplicaState.STARTING]
    if served and snapshot.applied and phase is not EnginePhase.ABSENT:
        return [MarkFailed(STOPPED_ELSEWHERE)]
    lost = _change_state(served, ReplicaState.FAILED, GONE)
    starting = [replica for replica in rows if replica not in served]
    applied: list[EngineAction] = [] if phase is EnginePhase.ENDING else [Apply()]  # first it has to end
    return [*lost, *applied, *_plan_pending(deployment, starting, snapshot)]


def rollback_or_fail(deployment: Deployment, reason: str) -> RollBack | MarkFailed:
    """The decision for a target revision that does not become ready."""
    return RollBack(reason) if deployment.last_stable and not deployment.is_stable else MarkFailed(reason)


def _plan_pending(deployment: Deployment, rows: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    """The target revision is on its way; replicas that serve go on serving."""
    current, outdated = _by_revision(deployment, rows)
    starting = [replica for replica in outdated if replica.state is ReplicaState.STARTING]
    return [*_change_state(starting, ReplicaState.GONE), *_record_starting(max(1, snapshot.spec.least) - len(current))]


def _plan_unhealthy(deployment: Deployment, rows: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    """As many rows get requests as replicas answer. A revision that never served gets no more than before."""
    serving = [replica for replica in rows if replica.state is ReplicaState.READY]
    unresponsive = [replica for replica in rows if replica.state is ReplicaState.UNRESPONSIVE]
    ready = len(serving) if snapshot.status.ready is None else snapshot.status.ready
    more = max(0, ready - len(serving)) if deployment.is_stable else 0
    return [
        *_change_state(serving[ready:], ReplicaState.UNRESPONSIVE),
        *_change_state(unresponsive[:more], ReplicaState.READY),
    ]


def _plan_running(deployment: Deployment, rows: Sequence[Replica], snapshot: Snapshot) -> list[EngineAction]:
    """The target revision serves, and no other does."""
    current, outdated = _by_revision(
        deployment, [replica for replica in rows if replica.address in ("", snapshot.status.address)]
    )
    outdated += [replica for replica in rows if replica not in (*current, *outdated)]  # the address has changed
    counted, least = snapshot.status.ready, snapshot.spec.least
    ready = max(1, least if counted is None else counted)  # with none ready, the engine starts one for the next request
    serving = [replica for replica in current if replica.state is ReplicaState.READY]
    starting = [replica for replica in current if replica.state is not ReplicaState.READY]
    promoted = starting[: max(0, ready - len(serving))]
    waiting = starting[len(promoted) :]
    expected = max(0, max(ready, least) - len(serving[:ready]) - len(promoted))
    return [
        *_change_state(outdated, ReplicaState.GONE),
        *_change_state(serving[ready:], ReplicaState.GONE),
        *_change_state(promoted, ReplicaState.READY),
        *_change_state(waiting[expected:], ReplicaState.GONE),
        *_record_starting(expected - len(waiting)),
        *_plan_deployment(deployment, snapshot),
    ]


def _plan_deployment(deployment: Deployment, snapshot: Snapshot) -> list[EngineAction]:
    newly_stable = not deployment.is_stable or deployment.failures or deployment.reason
    actions: list[EngineAction] = [MarkStable()] if newly_stable else []
    counted, spec = snapshot.status.ready, snapshot.spec
    if not counted or spec.least == spec.most:
        return actions
    number = max(1, min(spec.most, max(spec.least, counted)))
    return [*actions, *([AdoptReplicas(number)] if number != deployment.replicas else [])]


def _by_revision(deployment: Deployment, rows: Sequence[Replica]) -> tuple[list[Replica], list[Replica]]:
    """The rows of the target revision, and those of others."""
    current = [replica for replica in rows if replica.revision.number == deployment.target.number]
    return current, [replica for replica in rows if replica.revision.number != deployment.target.number]


def _record_starting(number: int) -> list[EngineAction]:
    return [RecordStarting(number)] if number > 0 else []


def _change_state(rows: Sequence[Replica], state: ReplicaState, reason: str = "") -> list[EngineAction]:
    return [ChangeState(tuple(replica.id for replica in rows), state, reason)] if rows else []
