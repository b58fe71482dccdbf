"""What a look at the replicas means: which moved, what their deployment learns from it. No clock, no database here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from management.backends.base import Observation, Phase
from management.control.evaluation import News, Settled
from management.control.replicas.plan import LONGEST_PAUSE
from management.domain.records import Deployment, Health, Replica, ReplicaState, Revision
from management.settings import Settings

ENOUGH_PROBES: Final = 2
"""In a row that are missed before a replica gets no more requests, or answered before it gets some again."""
BRIEF_SECONDS: Final = 2.0
"""That a replica must have served for its successor to start without a pause, while others serve."""
SHORTEST_DRAIN: Final = 1.0
"""Seconds until every worker has seen that a replica drains; none may look idle before."""


@dataclass(frozen=True)
class Context:
    """What a look is judged by."""

    at: datetime
    settings: Settings
    health: Mapping[str, Health] = field(default_factory=dict)
    """How replicas answer."""
    ending: frozenset[str] = frozenset()
    """Replicas that are being ended."""
    ages: Mapping[str, float] = field(default_factory=dict)
    """Seconds for which replicas have been seen in their state, by a clock that nobody sets."""

    def age(self, replica: Replica) -> float:
        """Seconds in its state; of one that was not seen in it before, by the time of day."""
        return self.ages.get(replica.id, (self.at - replica.changed_at).total_seconds())

    def answers(self, replica: Replica) -> Health:
        """How it answers."""
        return self.health.get(replica.id, Health())


def settle(
    deployment: Deployment, replicas: Sequence[Replica], seen: Mapping[str, Observation], context: Context
) -> Settled:
    """What the look ``seen``, by replica id, means for this deployment, whose replicas these are."""
    looked_at = [(one, seen[one.id]) for one in replicas if one.id in seen]
    spare = any(one.state is ReplicaState.READY and not context.answers(one).misses for one in replicas)
    news = tuple(found for one, look in looked_at if (found := _moved(one, look, context, spare=spare)) is not None)
    changes = _learnt(deployment, replicas, news, context)
    return Settled(
        news=news,
        changed=changes,
        restart=tuple(
            one for one, look in looked_at if one.state is ReplicaState.STARTING and look.phase is Phase.ABSENT
        ),
        end={
            one.id: context.settings.stop_seconds
            for one, look in looked_at
            if one.state is ReplicaState.DRAINING and one.id not in context.ending and _drained(one, look, context)
        },
    )


def refused(deployment: Deployment, replica: Replica, reason: str, context: Context) -> Settled:
    """A start that could not even be begun is a failure, but no reason to give up what has been ready before.

    It is the machine that refuses: its disk is full, or it has no more processes to give.
    """
    news = (News(replica, ReplicaState.FAILED, context.at, reason=reason),)
    learnt = _learnt(deployment, (replica,), news, context)

    def changed(current: Deployment) -> Deployment:
        after = current if learnt is None else learnt(current)
        most = context.settings.crash_attempts - 1
        return replace(after, failures=min(after.failures, most)) if after.proven else after

    return Settled(news, changed)


def _moved(replica: Replica, look: Observation, context: Context, *, spare: bool) -> News | None:
    """``spare``: whether another one answers, else the last that might is not taken out of use."""
    ended = look.phase in (Phase.EXITED, Phase.ABSENT)
    if replica.state is ReplicaState.DRAINING:
        swept = replica.id not in context.ending  # with what it had started
        return News(replica, ReplicaState.GONE, context.at) if ended and swept else None
    if replica.state is ReplicaState.STARTING:
        return _started(replica, look, context)
    if look.phase is Phase.UNKNOWN:
        return None
    if ended:
        reason = look.reason or "the process is gone"
        return News(replica, ReplicaState.FAILED, context.at, reason=reason, crashed=look.crashed)
    return _served(replica, context, spare=spare)


def _served(replica: Replica, context: Context, *, spare: bool) -> News | None:
    health = context.answers(replica)
    if health.silence > context.settings.silence_seconds:
        reason = f"it did not answer for {context.settings.silence_seconds:g} s"
        return News(replica, ReplicaState.FAILED, context.at, reason=reason)
    if replica.state is ReplicaState.READY and health.misses >= ENOUGH_PROBES and spare:
        return News(replica, ReplicaState.SILENT, context.at, reason="it does not answer")
    if replica.state is ReplicaState.SILENT and health.answers >= ENOUGH_PROBES:
        return News(replica, ReplicaState.READY, context.at, address=replica.address)
    return None


def _started(replica: Replica, look: Observation, context: Context) -> News | None:
    if look.phase is Phase.READY:
        return News(replica, ReplicaState.READY, context.at, address=look.address)
    if look.phase is Phase.EXITED:
        return News(replica, ReplicaState.FAILED, context.at, reason=look.reason)
    if look.phase is Phase.UNKNOWN:  # it may be ready
        return None
    if context.age(replica) > context.settings.start_seconds:
        reason = f"it was not ready within {context.settings.start_seconds:g} s"
        return News(replica, ReplicaState.FAILED, context.at, reason=reason)
    return None


def _drained(replica: Replica, look: Observation, context: Context) -> bool:
    age = context.age(replica)
    idle = look.phase not in (Phase.SILENT, Phase.UNKNOWN) and look.in_flight == 0 and age > SHORTEST_DRAIN
    return idle or age > context.settings.drain_seconds


def _learnt(
    deployment: Deployment, replicas: Sequence[Replica], news: Sequence[News], context: Context
) -> Callable[[Deployment], Deployment] | None:
    """How the deployment changes; it is applied to what the database holds then, which may wish something new."""
    number = deployment.wanted.number
    failures = [one for one in news if one.failed and one.replica.revision.number == number]
    states = {one.id: one.state for one in replicas} | {one.replica.id: one.state for one in news}
    proven = not deployment.proven and _proves(number, replicas, states)
    steady = _steady(deployment, replicas, context) and not failures
    fallback = _fallback(deployment, replicas, states)
    if not (proven or failures or steady or fallback):
        return None
    others = any(states[one.id] is ReplicaState.READY for one in _of(number, replicas))

    def changed(current: Deployment) -> Deployment:
        if current.wanted.number != number:
            return current
        if proven:
            current = replace(current, served=current.wanted)
        elif current.served is None:
            current = replace(current, served=fallback)
        if steady:
            current = replace(current, failures=0, retry_at=None)
        for one in failures:
            current = _failed(current, one, context, others=others)
        return current

    return changed


def _fallback(
    deployment: Deployment, replicas: Sequence[Replica], states: Mapping[str, ReplicaState]
) -> Revision | None:
    """The revision that serves while none has before: it was updated before its first replica was ready."""
    if deployment.served is not None:
        return None
    number = deployment.wanted.number
    ready = [one.revision for one in replicas if states[one.id] is ReplicaState.READY and one.revision.number != number]
    return max(ready, key=lambda revision: revision.number, default=None)


def _proves(number: int, replicas: Sequence[Replica], states: Mapping[str, ReplicaState]) -> bool:
    """Whether a revision serves, and nothing is left of the one before it, to which an update could go back."""
    ready = any(states[one.id] is ReplicaState.READY for one in _of(number, replicas))
    return ready and not any(states[one.id].wanted for one in replicas if one.revision.number != number)


def _failed(deployment: Deployment, news: News, context: Context, *, others: bool) -> Deployment:
    """What follows from a failure; ``others``: whether another replica of the revision is ready."""
    at, replica, retry_at = context.at.timestamp(), news.replica, deployment.retry_at
    served = 0.0
    if replica.state is not ReplicaState.STARTING:
        served = at - (replica.ready_at or replica.changed_at).timestamp()
    steady = served > context.settings.steady_seconds
    if replica.state is not ReplicaState.STARTING and others and (steady or not news.crashed):
        # Not the revision's fault: it is lost, and replaced.
        pause = context.settings.retry_seconds if served < BRIEF_SECONDS else 0.0
        return replace(deployment, retry_at=max(retry_at or 0.0, at + pause), reason=news.reason)
    if steady:  # whatever failed before it is long past
        return replace(deployment, failures=1, retry_at=at, reason=news.reason)
    if retry_at is not None and 0 < retry_at - replica.created_at.timestamp() <= LONGEST_PAUSE:
        return replace(deployment, reason=news.reason)  # started before the last failure: that one spoke for both
    count, pause = deployment.failures + 1, 0.0
    pauses = count - deployment.proven  # the first successor of one that served starts at once
    if pauses:
        pause = min(LONGEST_PAUSE, context.settings.retry_seconds * 2 ** min(pauses - 1, 10))
    return replace(deployment, failures=count, retry_at=at + pause, reason=news.reason)


def _of(number: int, replicas: Sequence[Replica]) -> list[Replica]:
    return [one for one in replicas if one.revision.number == number]


def _steady(deployment: Deployment, replicas: Sequence[Replica], context: Context) -> bool:
    """Whether earlier failures are forgotten: something is ready, and nothing has failed for a while."""
    if not deployment.failures or deployment.retry_at is None:
        return False
    calm = context.at.timestamp() - deployment.retry_at > context.settings.steady_seconds
    return calm and any(one.state is ReplicaState.READY for one in _of(deployment.wanted.number, replicas))
