"""What a turn of the leader concludes: which replicas changed their state, and what their deployment learns from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from management.domain.records import Deployment, Event, Replica, ReplicaState


@dataclass(frozen=True)
class News:
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
class Settled:
    """What follows from a look at one deployment's replicas."""

    news: tuple[News, ...] = ()
    changed: Callable[[Deployment], Deployment] | None = None
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
            for one in self.news
        ]


def rolled_back(deployment: Deployment) -> Deployment:
    """The revision that served before is wanted again."""
    assert deployment.served is not None, "there is nothing to roll back to"  # noqa: S101
    scaling = deployment.wanted.config.scaling  # which was not what failed
    return replace(
        deployment,
        wanted=replace(deployment.served, config=replace(deployment.served.config, scaling=scaling)),
        abandoned=deployment.wanted.config.version,
        abandoned_for=deployment.reason,
        failures=0,
        retry_at=None,
        reason="",
    )


def given_up(deployment: Deployment) -> Deployment:
    """Nothing is started until the wish changes."""
    return replace(deployment, gave_up=True, retry_at=None)
