"""Makes room for a model by scaling idle models to zero, the longest idle first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from management.control.demand import TotalLoad, total_load
from management.domain.capacity import Capacity, requested_resources
from management.domain.clock import SYSTEM, Clock
from management.domain.records import NOTHING, Deployment, Event, Replica, ReplicaState, Resources
from management.errors import InsufficientResources
from management.store import Session

EVICTION_GRACE_SECONDS: Final = 10.0
"""Seconds after its last request in which a model is not evicted."""


def make_room(
    session: Session, capacity: Capacity, changed: Deployment, before: Resources = NOTHING, clock: Clock = SYSTEM
) -> None:
    """Makes the resources of ``changed`` fit beside all other deployments.

    Raises InsufficientResources where even evicting all idle models does not suffice, and then evicts none.
    """
    others = [deployment for deployment in session.deployments.all() if deployment.id != changed.id]
    resources = requested_resources(changed)
    try:
        capacity.check(others, resources, before)
    except InsufficientResources:
        evicted: list[Deployment] = []
        for deployment in longest_idle(others, session.replicas.all(), _total_load(session, clock), clock.unix()):
            others = [other for other in others if other.id != deployment.id]
            evicted.append(deployment)
            if capacity.fits(others, resources):
                break
        else:
            raise
        for deployment in list(evicted):  # keep those whose resources are not the scarce ones
            if capacity.fits([*others, deployment], resources):
                others.append(deployment)
                evicted.remove(deployment)
        for deployment in evicted:
            reason = f"{changed.model_id} needs its resources"
            scale_to_zero(session, deployment, Cause(clock.now(), "supervisor", reason))


@dataclass(frozen=True)
class Cause:
    """When a model is scaled to zero, which actor decided it, and why."""

    at: datetime
    actor: str
    reason: str


def scale_to_zero(session: Session, deployment: Deployment, cause: Cause) -> None:
    """Scales the model to zero; the next request starts it."""
    session.deployments.put(replace(deployment, replicas=0, scaled_to_zero=True))
    details = {"from": deployment.replicas, "to": 0, "reason": cause.reason}
    session.events.add(Event(cause.at, deployment.model_id, deployment.id, cause.actor, "rest", details))


def longest_idle(
    deployments: Iterable[Deployment], replicas: Sequence[Replica], loads: dict[str, TotalLoad], now: float
) -> list[Deployment]:
    """The deployments that may be scaled to zero and are idle at this Unix time, the longest idle first."""
    used = {
        deployment.id: last_used(deployment, replicas, loads.get(deployment.id, TotalLoad()))
        for deployment in deployments
        if may_scale_to_zero(deployment, replicas) and not loads.get(deployment.id, TotalLoad()).busy
    }
    idle = [
        deployment
        for deployment in deployments
        if deployment.id in used and now - used[deployment.id] > EVICTION_GRACE_SECONDS
    ]
    return sorted(idle, key=lambda deployment: used[deployment.id])


def may_scale_to_zero(deployment: Deployment, replicas: Iterable[Replica]) -> bool:
    """Whether the model is on demand and serves. A model that starts or is updated has a caller who waits for it."""
    deployed = [replica for replica in replicas if replica.deployment_id == deployment.id]
    ready = any(replica.state is ReplicaState.READY for replica in deployed)
    return (
        deployment.scales_to_zero
        and deployment.is_stable
        and ready
        and deployment.replicas > 0
        and not deployment.deletion
    )


def last_used(deployment: Deployment, replicas: Iterable[Replica], load: TotalLoad) -> float:
    """The Unix time of the model's last request or change, or of its last replica to become ready."""
    ready = [
        replica.ready_at.timestamp()
        for replica in replicas
        if replica.deployment_id == deployment.id and replica.ready_at
    ]
    return max(load.last_request_at, deployment.updated_at.timestamp(), *ready, 0.0)


def _total_load(session: Session, clock: Clock) -> dict[str, TotalLoad]:
    return total_load(session.load_reports.all(), clock.unix())
