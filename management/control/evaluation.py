"""What a turn of the leader concludes: which replicas changed their state, and what their deployment learns from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from management.domain.records import Deployment, Event, Replica, ReplicaState


@dataclass(frozen=True)
class Transition:
    """A replica's move, and what is learnt with it."""

    replica: Replica
    state: ReplicaState
    at: datetime
    address: str = ""
    reason: str = ""
    crashed: bool = False
    """Whether it ended by its own doing."""

    @property
    def failed(self) -> bool:
        """Whether it is a failure."""
        return self.state is ReplicaState.FAILED

    def more(self, tails: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The replica's fields that change with its state."""
        if self.state is ReplicaState.READY:
            return {"address": self.address, "ready_at": self.replica.ready_at or self.at}
        if self.failed:
            return {"reason": self.reason, "log_tail": "\n".join(tails.get(self.replica.id, ()))}
        return {}


@dataclass(frozen=True)
class Evaluation:
    """What follows from a look at one deployment's replicas."""

    transitions: tuple[Transition, ...] = ()
    deployment_update: Callable[[Deployment], Deployment] | None = None
    """What the deployment learns."""
    restart: tuple[Replica, ...] = ()
    """Recorded replicas whose start was not begun."""
    end: Mapping[str, float] = field(default_factory=dict)
    """Draining replicas that are to end now, with the seconds they have for it."""

    def events(self, model_id: str, actor: str) -> list[Event]:
        """Each piece of news as an event."""
        return [
            Event(
                one.at,
                model_id,
                one.replica.deployment_id,
                actor,
                f"replica_{one.state.value}",
                {
                    "replica_id": one.replica.id,
                    "revision": one.replica.revision.number,
                    **({"reason": one.reason} if one.reason else {}),
                },
            )
            for one in self.transitions
        ]


@dataclass(frozen=True)
class RollBack:
    """Decision: the revision that was last stable is the target again."""

    reason: str = ""


@dataclass(frozen=True)
class MarkFailed:
    """Decision: start nothing more until somebody changes the desired state."""

    reason: str = ""


@dataclass(frozen=True)
class RemoveRecord:
    """Decision: forget the deployment. It was deleted, and nothing of it runs."""


def rolled_back(deployment: Deployment) -> Deployment:
    """The revision that served before is wanted again."""
    assert deployment.last_stable is not None, "there is nothing to roll back to"  # noqa: S101
    scaling = deployment.target.config.scaling  # which was not what failed
    return replace(
        deployment,
        target=replace(deployment.last_stable, config=replace(deployment.last_stable.config, scaling=scaling)),
        rolled_back_from=deployment.target.config.version,
        rollback_reason=deployment.reason,
        failures=0,
        retry_at=None,
        reason="",
    )


def marked_failed(deployment: Deployment) -> Deployment:
    """Nothing is started until the wish changes."""
    return replace(deployment, failed=True, retry_at=None)
