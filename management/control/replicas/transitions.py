"""What observations of replicas mean: which change their state, how their deployment is updated. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from management.backends.launcher import Observation, Phase
from management.backends.preparation import Preparation
from management.control.evaluation import Evaluation, Transition
from management.control.replicas.plan import MAX_PAUSE_SECONDS
from management.domain.backoff import backoff
from management.domain.records import Deployment, Health, Replica, ReplicaState, Revision
from management.settings import ReplicaSettings

PROBES_TO_CHANGE_STATE: Final = 2
"""Probes in a row that a replica misses before it gets no more requests, or answers before it gets some again."""
MIN_SERVED_SECONDS: Final = 2.0
"""Seconds a replica must have served for its successor to start without a pause, while others serve."""
MIN_DRAIN_SECONDS: Final = 1.0
"""Seconds until every worker knows that a replica drains; before that, it never counts as idle."""


@dataclass(frozen=True)
class EvaluationContext:
    """What observations are evaluated against."""

    at: datetime
    settings: ReplicaSettings
    health: Mapping[str, Health] = field(default_factory=dict)
    """How replicas answer, by id."""
    stopping: frozenset[str] = frozenset()
    """Ids of the replicas that are being stopped."""
    ages: Mapping[str, float] = field(default_factory=dict)
    """Seconds for which replicas have been in their state, by id and by a monotonic clock."""

    def age(self, replica: Replica) -> float:
        """Seconds the replica has been in its state; where it is not among ``ages``, by the time of day."""
        return self.ages.get(replica.id, (self.at - replica.changed_at).total_seconds())

    def health_of(self, replica: Replica) -> Health:
        """How the replica answers."""
        return self.health.get(replica.id, Health())


def evaluate(
    deployment: Deployment,
    replicas: Sequence[Replica],
    observations: Mapping[str, Observation],
    context: EvaluationContext,
) -> Evaluation:
    """What the ``observations``, by replica id, mean for this deployment, whose replicas these are."""
    observed = [(replica, observations[replica.id]) for replica in replicas if replica.id in observations]
    another_answers = any(
        replica.state is ReplicaState.READY and not context.health_of(replica).failures_in_a_row for replica in replicas
    )
    transitions = tuple(
        transition
        for replica, observation in observed
        if (transition := _transition(replica, observation, context, another_answers=another_answers)) is not None
    )
    update = _deployment_update(deployment, replicas, transitions, context)
    return Evaluation(
        transitions=transitions,
        deployment_update=update,
        restart=tuple(
            replica
            for replica, observation in observed
            if replica.state is ReplicaState.STARTING and observation.phase is Phase.ABSENT
        ),
        end={
            replica.id: context.settings.stop_seconds
            for replica, observation in observed
            if replica.state is ReplicaState.DRAINING
            and replica.id not in context.stopping
            and _has_drained(replica, observation, context)
        },
        waiting={
            replica.id: observation.reason
            for replica, observation in observed
            if replica.state is ReplicaState.STARTING
            and observation.phase is Phase.STARTING
            and observation.reason != replica.reason
        },
    )


def evaluate_refusal(deployment: Deployment, replica: Replica, reason: str, context: EvaluationContext) -> Evaluation:
    """Evaluates a start that the machine refused: its disk is full, or it can start no more processes.

    It counts as a failure, but never marks a stable revision as failed.
    """
    transitions = (Transition(replica, ReplicaState.FAILED, context.at, reason=reason),)
    update = _deployment_update(deployment, (replica,), transitions, context)

    def changed(current: Deployment) -> Deployment:
        after = current if update is None else update(current)
        most = context.settings.crash_attempts - 1
        return replace(after, failures=min(after.failures, most)) if after.is_stable else after

    return Evaluation(transitions, changed)


def environment_failed(
    deployment: Deployment, preparation: Preparation, now: float, settings: ReplicaSettings
) -> Deployment:
    """The deployment after its environment could not be made: given up at once, unless another attempt may succeed.

    A temporary failure never marks a stable revision as failed, as in ``evaluate_refusal``.
    """
    attempts = settings.crash_attempts if deployment.is_stable else settings.start_attempts
    count = deployment.failures + 1 if preparation.temporary else max(attempts, deployment.failures + 1)
    if preparation.temporary and deployment.is_stable:
        count = min(count, attempts - 1)
    pause = backoff(count, settings.retry_seconds, MAX_PAUSE_SECONDS)
    reason = f"its environment could not be made: {preparation.reason}"
    return replace(deployment, failures=count, retry_at=now + pause, reason=reason)


def _transition(
    replica: Replica, observation: Observation, context: EvaluationContext, *, another_answers: bool
) -> Transition | None:
    """``another_answers``: whether any replica answers. Where none does, an unresponsive one keeps its requests."""
    ended = observation.phase in (Phase.EXITED, Phase.ABSENT)
    if replica.state is ReplicaState.DRAINING:
        stopped = replica.id not in context.stopping  # with all its child processes
        return Transition(replica, ReplicaState.GONE, context.at) if ended and stopped else None
    if replica.state is ReplicaState.STARTING:
        return _starting_transition(replica, observation, context)
    if observation.phase is Phase.UNKNOWN:
        return None
    if ended:
        reason = observation.reason or "the process is gone"
        return Transition(replica, ReplicaState.FAILED, context.at, reason=reason, crashed=observation.crashed)
    if observation.leaving:  # another one starts in its place, and its requests in flight end
        return Transition(replica, ReplicaState.DRAINING, context.at)
    return _serving_transition(replica, context, another_answers=another_answers)


def _serving_transition(replica: Replica, context: EvaluationContext, *, another_answers: bool) -> Transition | None:
    health = context.health_of(replica)
    if health.seconds_unresponsive > context.settings.silence_seconds:
        reason = f"it did not answer for {context.settings.silence_seconds:g} s"
        return Transition(replica, ReplicaState.FAILED, context.at, reason=reason)
    if replica.state is ReplicaState.READY and health.failures_in_a_row >= PROBES_TO_CHANGE_STATE and another_answers:
        return Transition(replica, ReplicaState.UNRESPONSIVE, context.at, reason="it does not answer")
    if replica.state is ReplicaState.UNRESPONSIVE and health.successes_in_a_row >= PROBES_TO_CHANGE_STATE:
        return Transition(replica, ReplicaState.READY, context.at, address=replica.address)
    return None


def _starting_transition(replica: Replica, observation: Observation, context: EvaluationContext) -> Transition | None:
    if observation.phase is Phase.READY:
        return Transition(replica, ReplicaState.READY, context.at, address=observation.address)
    if observation.phase is Phase.EXITED:
        return Transition(replica, ReplicaState.FAILED, context.at, reason=observation.reason)
    if observation.phase is Phase.UNKNOWN:  # it may be ready
        return None
    if observation.leaving:
        return Transition(replica, ReplicaState.DRAINING, context.at)
    if context.age(replica) > context.settings.start_seconds:
        reason = f"it was not ready within {context.settings.start_seconds:g} s"
        if observation.reason:
            reason = f"{reason}: {observation.reason}"
        return Transition(replica, ReplicaState.FAILED, context.at, reason=reason)
    return None


def _has_drained(replica: Replica, observation: Observation, context: EvaluationContext) -> bool:
    age = context.age(replica)
    idle = (
        observation.phase not in (Phase.UNRESPONSIVE, Phase.UNKNOWN)
        and observation.in_flight == 0
        and age > MIN_DRAIN_SECONDS
    )
    return idle or age > context.settings.drain_seconds


def _deployment_update(
    deployment: Deployment, replicas: Sequence[Replica], transitions: Sequence[Transition], context: EvaluationContext
) -> Callable[[Deployment], Deployment] | None:
    """How the deployment changes. The update is applied to the recorded deployment, whose target may have changed."""
    number = deployment.target.number
    failures = [
        transition for transition in transitions if transition.failed and transition.replica.revision.number == number
    ]
    states = {replica.id: replica.state for replica in replicas} | {
        transition.replica.id: transition.state for transition in transitions
    }
    newly_stable = not deployment.is_stable and _becomes_stable(number, replicas, states)
    steady = _steady(deployment, replicas, context) and not failures
    fallback = _fallback(deployment, replicas, states)
    if not (newly_stable or failures or steady or fallback):
        return None
    others = any(states[replica.id] is ReplicaState.READY for replica in _of_revision(number, replicas))

    def changed(current: Deployment) -> Deployment:
        if current.target.number != number:
            return current
        if newly_stable:
            current = replace(current, last_stable=current.target)
        elif current.last_stable is None:
            current = replace(current, last_stable=fallback)
        if steady:
            current = replace(current, failures=0, retry_at=None)
        for failure in failures:
            current = _failed(current, failure, context, others=others)
        return current

    return changed


def _fallback(
    deployment: Deployment, replicas: Sequence[Replica], states: Mapping[str, ReplicaState]
) -> Revision | None:
    """The newest outdated revision that serves, where none is stable yet: the model was updated before it became so."""
    if deployment.last_stable is not None:
        return None
    number = deployment.target.number
    ready = [
        replica.revision
        for replica in replicas
        if states[replica.id] is ReplicaState.READY and replica.revision.number != number
    ]
    return max(ready, key=lambda revision: revision.number, default=None)


def _becomes_stable(number: int, replicas: Sequence[Replica], states: Mapping[str, ReplicaState]) -> bool:
    """Whether the revision serves, and no replica of another one is active, to which an update could roll back."""
    ready = any(states[replica.id] is ReplicaState.READY for replica in _of_revision(number, replicas))
    return ready and not any(states[replica.id].active for replica in replicas if replica.revision.number != number)


def _failed(deployment: Deployment, failure: Transition, context: EvaluationContext, *, others: bool) -> Deployment:
    """The deployment after a failure; ``others``: whether another replica of the revision is ready."""
    now, replica, retry_at = context.at.timestamp(), failure.replica, deployment.retry_at
    served = 0.0
    if replica.state is not ReplicaState.STARTING:
        served = now - (replica.ready_at or replica.changed_at).timestamp()
    steady = served > context.settings.steady_seconds
    if replica.state is not ReplicaState.STARTING and others and (steady or not failure.crashed):
        # The revision is not at fault: the replica is only replaced.
        pause = context.settings.retry_seconds if served < MIN_SERVED_SECONDS else 0.0
        return replace(deployment, retry_at=max(retry_at or 0.0, now + pause), reason=failure.reason)
    if steady:  # earlier failures are long past
        return replace(deployment, failures=1, retry_at=now, reason=failure.reason)
    if retry_at is not None and 0 < retry_at - replica.created_at.timestamp() <= MAX_PAUSE_SECONDS:
        return replace(deployment, reason=failure.reason)  # it started before the last failure, which counts for both
    count = deployment.failures + 1
    pauses = count - deployment.is_stable  # the first successor of one that served starts at once
    pause = backoff(pauses, context.settings.retry_seconds, MAX_PAUSE_SECONDS)
    return replace(deployment, failures=count, retry_at=now + pause, reason=failure.reason)


def _of_revision(number: int, replicas: Sequence[Replica]) -> list[Replica]:
    return [replica for replica in replicas if replica.revision.number == number]


def _steady(deployment: Deployment, replicas: Sequence[Replica], context: EvaluationContext) -> bool:
    """Whether earlier failures are forgotten: a replica is ready, and none has failed for a while."""
    if not deployment.failures or deployment.retry_at is None:
        return False
    calm = context.at.timestamp() - deployment.retry_at > context.settings.steady_seconds
    return calm and any(
        replica.state is ReplicaState.READY for replica in _of_revision(deployment.target.number, replicas)
    )
