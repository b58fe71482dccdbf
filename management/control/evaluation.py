"""What a turn of the leader concludes: which replicas changed their state, and how their deployment is updated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from management.domain.config_change import with_fields_of_the_model
from management.domain.records import Deployment, Event, Replica, ReplicaState


@dataclass(frozen=True)
class Transition:
    """A replica's change of state, and the details that go with it."""

    replica: Replica
    state: ReplicaState
    at: datetime
    address: str = ""
    reason: str = ""
    crashed: bool = False
    """Whether its process ended by itself."""

    @property
    def failed(self) -> bool:
        """Whether the replica failed."""
        return self.state is ReplicaState.FAILED

    def more(self, tails: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The fields of the replica that change with its state; ``tails`` are the logs' last lines by replica id."""
        if self.state is ReplicaState.READY:
            return {"address": self.address, "ready_at": self.replica.ready_at or self.at, "reason": ""}
        if self.failed:
            return {"reason": self.reason, "log_tail": "\n".join(tails.get(self.replica.id, ()))}
        return {}


@dataclass(frozen=True)
class Evaluation:
    """What follows from the observation of one deployment's replicas."""

    transitions: tuple[Transition, ...] = ()
    deployment_update: Callable[[Deployment], Deployment] | None = None
    """Returns the deployment as it has to be recorded; None where it does not change."""
    restart: tuple[Replica, ...] = ()
    """Recorded replicas that were never started."""
    end: Mapping[str, float] = field(default_factory=dict)
    """Draining replicas that have to end now, and the seconds each has for it, by id."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """What starting replicas wait for, by id, where that has changed."""

    def events(self, model_id: str, actor: str) -> list[Event]:
        """An event for each transition."""
        return [
            Event(
                transition.at,
                model_id,
                transition.replica.deployment_id,
                actor,
                f"replica_{transition.state.value}",
                {
                    "replica_id": transition.replica.id,
                    "revision": transition.replica.revision.number,
                    **({"reason": transition.reason} if transition.reason else {}),
                },
            )
            for transition in self.transitions
        ]


@dataclass(frozen=True)
class RollBack:
    """Decision: the last stable revision becomes the target again."""

    reason: str = ""


@dataclass(frozen=True)
class MarkFailed:
    """Decision: start nothing more until the desired state changes."""

    reason: str = ""


@dataclass(frozen=True)
class RemoveRecord:
    """Decision: remove the deployment's record. It was deleted, and none of its replicas runs."""


def rolled_back(deployment: Deployment) -> Deployment:
    """The deployment with its last stable revision as the target."""
    assert deployment.last_stable is not None, "there is nothing to roll back to"  # noqa: S101
    stable = deployment.last_stable
    config = with_fields_of_the_model(stable.config, deployment.target.config)  # they are not part of what failed
    return replace(
        deployment,
        target=replace(stable, config=config),
        rolled_back_from=deployment.target.config.version,
        rollback_reason=deployment.reason,
        failures=0,
        retry_at=None,
        reason="",
    )


def marked_failed(deployment: Deployment) -> Deployment:
    """The deployment as failed: nothing is started until the desired state changes."""
    return replace(deployment, failed=True, retry_at=None)
