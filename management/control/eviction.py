"""Room for a model where there is too little: those that sleep when nobody asks make place, the longest idle first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from management.control.demand import (
    Wanted,
    added_up,
)
from management.domain.capacity import Capacity, asked
from management.domain.clock import SYSTEM, Clock
from management.domain.records import NOTHING, Deployment, Event, Replica, ReplicaState, Resources
from management.errors import InsufficientResources
from management.store import Session

WARM_SECONDS: Final = 10.0
"""After its last request, in which no model has to make place for another one."""


def make(
    session: Session, capacity: Capacity, changed: Deployment, before: Resources = NOTHING, clock: Clock = SYSTEM
) -> None:
    """Lets what ``changed`` asks for fit beside all others. Raises InsufficientResources, and ends nothing then."""
    others = [one for one in session.deployments.all() if one.id != changed.id]
    wanted = asked(changed)
    try:
        capacity.check(others, wanted, before)
    except InsufficientResources:
        sleepers: list[Deployment] = []
        for one in longest_idle(others, session.replicas.all(), _wanted(session, clock), clock.unix()):
            others = [other for other in others if other.id != one.id]
            sleepers.append(one)
            if capacity.fits(others, wanted):
                break
        else:
            raise
        for one in list(sleepers):  # who had to leave for nothing: of something else there is too little
            if capacity.fits([*others, one], wanted):
                others.append(one)
                sleepers.remove(one)
        for one in sleepers:
            rest(session, one, Why(clock.now(), "supervisor", f"{changed.model_id} needs its place"))


@dataclass(frozen=True)
class Why:
    """When a model is ended, who decided it, and for what."""

    at: datetime
    actor: str
    reason: str


def rest(session: Session, deployment: Deployment, why: Why) -> None:
    """It is ended, and started by the next request."""
    session.deployments.put(replace(deployment, replicas=0, dormant=True))
    told = {"from": deployment.replicas, "to": 0, "reason": why.reason}
    session.events.add(Event(why.at, deployment.model_id, deployment.id, why.actor, "rest", told))


def longest_idle(
    deployments: Iterable[Deployment], replicas: Sequence[Replica], wanted: dict[str, Wanted], at: float
) -> list[Deployment]:
    """Those that serve, and may be ended because nobody asks now; the one that was used least lately first."""
    used = {
        one.id: last_used(one, replicas, wanted.get(one.id, Wanted()))
        for one in deployments
        if may_rest(one, replicas) and not wanted.get(one.id, Wanted()).busy
    }
    idle = [one for one in deployments if one.id in used and at - used[one.id] > WARM_SECONDS]
    return sorted(idle, key=lambda one: used[one.id])


def may_rest(deployment: Deployment, replicas: Iterable[Replica]) -> bool:
    """Whether it is on demand and serves: what is starting, or updated, has somebody who waits for it."""
    own = [one for one in replicas if one.deployment_id == deployment.id]
    ready = any(one.state is ReplicaState.READY for one in own)
    return deployment.on_demand and deployment.proven and ready and deployment.replicas > 0 and not deployment.removal


def last_used(deployment: Deployment, replicas: Iterable[Replica], wanted: Wanted) -> float:
    """The Unix time at which somebody last asked or changed the model, or it became ready."""
    ready = [one.ready_at.timestamp() for one in replicas if one.deployment_id == deployment.id and one.ready_at]
    return max(wanted.asked_at, deployment.updated_at.timestamp(), *ready, 0.0)


def _wanted(session: Session, clock: Clock) -> dict[str, Wanted]:
    return added_up(session.demands.all(), clock.unix())
