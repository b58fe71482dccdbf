"""How many new replicas an update may start beside the old ones, by its strategy. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from management.domain.records import Deployment, Replica, ReplicaState
from management.domain.strategy import Strategy


@dataclass(frozen=True)
class Fleet:
    """The replicas of one deployment that may have a process, by the part they have in an update."""

    current: list[Replica]
    """Active ones of the target revision."""
    outdated: list[Replica]
    """Active ones of other revisions."""
    draining: list[Replica]
    """Draining ones of any revision."""
    leaving: list[Replica]
    """Draining ones of other revisions."""


def fleet_of(deployment: Deployment, replicas: Sequence[Replica]) -> Fleet:
    """Sort the deployment's replicas."""
    active = [replica for replica in replicas if replica.state.active]
    draining = [replica for replica in replicas if replica.state is ReplicaState.DRAINING]
    return Fleet(
        current=[replica for replica in active if _is_current(deployment, replica)],
        outdated=[replica for replica in active if not _is_current(deployment, replica)],
        draining=draining,
        leaving=[replica for replica in draining if not _is_current(deployment, replica)],
    )


def most_beside_old(deployment: Deployment, fleet: Fleet, missing: int) -> int | None:
    """How many of the ``missing`` replicas may start now; None where the update imposes no limit.

    It imposes none where nothing serves that it could disturb: then the new ones start as those of a new model do. With
    RECREATE the old ones end first (``must_end_first``), so that there is nothing to limit either.
    """
    match deployment.target.config.strategy:
        case Strategy.ROLLING_UPDATE if ready(fleet.outdated):
            return min(missing, 1 - not_ready(fleet.current))
        case Strategy.RAMPED_SLOW_ROLLOUT if _ramps(fleet):
            full = len(fleet.current) + len(fleet.outdated) > deployment.replicas
            return 0 if full or fleet.leaving or not_ready(fleet.current) else 1
        case Strategy.BEST_EFFORT if ready(fleet.outdated) and not deployment.failures:
            return missing
    return None


def must_end_first(deployment: Deployment, fleet: Fleet) -> bool:
    """Whether old replicas have to end before any new one starts."""
    return deployment.target.config.strategy is Strategy.RECREATE and bool(fleet.outdated or fleet.leaving)


def _ramps(fleet: Fleet) -> bool:
    """Whether old replicas are there, and any replica serves."""
    return bool(fleet.outdated or fleet.leaving) and bool(ready(fleet.outdated) or ready(fleet.current))


def _is_current(deployment: Deployment, replica: Replica) -> bool:
    return replica.revision.number == deployment.target.number


def ready(replicas: Sequence[Replica]) -> int:
    """How many of them are ready."""
    return sum(replica.state is ReplicaState.READY for replica in replicas)


def not_ready(replicas: Sequence[Replica]) -> int:
    """How many of them are not ready."""
    return len(replicas) - ready(replicas)
