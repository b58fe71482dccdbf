"""What is known of a deployment and of its replicas: their states, the legal moves, and what is derived from both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Status(StrEnum):
    """A deployment's status, derived from its wish and its replicas; never stored."""

    PENDING = "pending"
    """Wanted, and no replica is ready yet."""
    RUNNING = "running"
    """At least one replica is ready."""
    FAILED = "failed"
    """Given up: no replica became ready in several tries."""
    STOPPED = "stopped"
    """No replica is wanted, or the model is being deleted."""


class ReplicaState(StrEnum):
    """A replica's state."""

    STARTING = "starting"
    """Recorded, and on its way to ready."""
    READY = "ready"
    """It answers, and requests are sent to it."""
    SILENT = "silent"
    """It was ready, and leaves its probes unanswered: it gets no new requests until it answers again."""
    DRAINING = "draining"
    """It gets no new requests and ends when those in flight are answered."""
    FAILED = "failed"
    """It ended, or was ended, though it was wanted."""
    GONE = "gone"
    """It ended because it was not wanted any more."""

    @property
    def alive(self) -> bool:
        """Whether a process may stand behind it."""
        return self.wanted or self is ReplicaState.DRAINING

    @property
    def wanted(self) -> bool:
        """Whether it is one of those that were wished for, and not on its way out."""
        return self in (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.SILENT)


MOVES: Final[Mapping[ReplicaState, frozenset[ReplicaState]]] = MappingProxyType(
    {
        ReplicaState.STARTING: frozenset(
            {ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.GONE}
        ),
        ReplicaState.READY: frozenset(
            {ReplicaState.SILENT, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.GONE}
        ),
        ReplicaState.SILENT: frozenset(
            {ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.GONE}
        ),
        ReplicaState.DRAINING: frozenset({ReplicaState.GONE}),
        ReplicaState.FAILED: frozenset(),
        ReplicaState.GONE: frozenset(),
    }
)
"""Every legal move of a replica; the store refuses others."""


class Removal(StrEnum):
    """How a deployment is being deleted."""

    DRAIN = "drain"
    """Requests in flight are answered first."""
    FORCE = "force"
    """At once."""


@dataclass(frozen=True)
class Resources:
    """What one replica may use."""

    cpu_millicores: int
    memory_bytes: int
    gpus: int

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_millicores + other.cpu_millicores,
            self.memory_bytes + other.memory_bytes,
            self.gpus + other.gpus,
        )

    def __mul__(self, times: int) -> Resources:
        return Resources(self.cpu_millicores * times, self.memory_bytes * times, self.gpus * times)

    def within(self, limit: Resources) -> bool:
        """Whether no part of it is more than the limit's."""
        return (
            self.cpu_millicores <= limit.cpu_millicores
            and self.memory_bytes <= limit.memory_bytes
            and self.gpus <= limit.gpus
        )


NOTHING: Final = Resources(0, 0, 0)
GATEWAY: Final = "gateway"
"""The actor of events that follow from a request for inference."""
LONGEST_TIMEOUT: Final = 600
"""Seconds that a caller may give a model; nothing between them may end it before."""


@dataclass(frozen=True)
class Scaling:
    """Between how many replicas a model is kept, and at which use of its CPU (percent) it is scaled."""

    min_replicas: int = 1
    max_replicas: int = 1
    target_cpu_utilization: int = 80

    def clamped(self, replicas: int) -> int:
        """The nearest number of replicas that is allowed."""
        return max(self.min_replicas, min(replicas, self.max_replicas))


@dataclass(frozen=True)
class ModelConfig:
    """What is deployed. Quantities stay as they were written (``"8Gi"``); ``Resources`` is what they mean."""

    name: str
    version: str
    model_type: str
    framework: str
    docker_image: str
    resource_requirements: Mapping[str, str]
    scaling: Scaling
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = NOTHING


@dataclass(frozen=True)
class Revision:
    """A numbered config; a replica runs one."""

    number: int
    config: ModelConfig


@dataclass(frozen=True)
class Deployment:
    """A model that somebody wants to run, and how its start has gone so far."""

    id: str
    model_id: str
    wanted: Revision
    replicas: int
    """How many are wish; 0 stops the model."""
    created_at: datetime
    updated_at: datetime
    served: Revision | None = None
    """The last revision of which a replica became ready: what a failed update falls back to."""
    latest: int = 1
    """The highest revision number ever given; a failed one's is never given again."""
    failures: int = 0
    """Replicas that ended in a row, since one was last ready for a while."""
    retry_at: float | None = None
    """Unix time before which no replica is started."""
    gave_up: bool = False
    """No replica is started until somebody changes the wish."""
    abandoned: str = ""
    """The version of the last update, where it did not become ready and the one before it serves on."""
    abandoned_for: str = ""
    """Why it did not."""
    reason: str = ""
    """Why the last replica failed."""
    removal: Removal | None = None
    dormant: bool = False
    """Its replicas were ended because nobody asked; the next request starts it."""
    held_until: float | None = None
    """Unix time until which the load does not change the number of replicas: somebody chose it."""

    @property
    def on_demand(self) -> bool:
        """Whether it is ended when nobody asks."""
        return self.wanted.config.scaling.min_replicas == 0

    @property
    def awaited(self) -> bool:
        """Whether a caller may wait for a replica: one is on its way, or is started when somebody asks.

        A model's first start may take minutes, or never come to an end; nobody waits for that unless it is on demand.
        """
        if self.removal or self.gave_up:
            return False
        return self.dormant or (self.replicas > 0 and (self.on_demand or self.served is not None))

    @property
    def proven(self) -> bool:
        """Whether a replica of the wanted revision has ever been ready."""
        return self.served is not None and self.served.number == self.wanted.number


@dataclass(frozen=True)
class Health:
    """How a replica answered its last probes."""

    misses: int = 0
    """Probes in a row that it left unanswered."""
    answers: int = 0
    """Probes in a row that it answered."""
    silence: float = 0.0
    """Seconds since it last answered."""


@dataclass(frozen=True)
class Replica:
    """One process, or container, that runs a revision of a deployment."""

    id: str
    deployment_id: str
    revision: Revision
    state: ReplicaState
    created_at: datetime
    changed_at: datetime
    """When it came into its state."""
    ready_at: datetime | None = None
    address: str = ""
    """Where it is reached, once it is ready: ``unix:/path`` or ``http://host:port``."""
    gpus: tuple[int, ...] = ()
    """The GPUs that it has for itself."""
    reason: str = ""
    """Why it failed."""
    log_tail: str = ""
    """The last lines it wrote before it failed."""
    cpu_millicores: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Demand:
    """What callers want of a model, as one worker of the server sees it."""

    worker: str
    deployment_id: str
    in_flight: int
    """Requests that replicas are working on."""
    waiting: int
    """Requests that wait for a place at a replica."""
    places: int
    """Requests that this worker lets the replicas work on at a time."""
    asked_at: float
    """Unix time of the last request."""
    at: float
    """Unix time of this look."""


@dataclass(frozen=True)
class Event:
    """Who changed what, when."""

    at: datetime
    model_id: str
    deployment_id: str
    actor: str
    """A key's name, or ``supervisor``, ``autoscaler``, ``gateway``."""
    action: str
    details: Mapping[str, object]


def status_of(deployment: Deployment, replicas: Iterable[Replica]) -> Status:
    """The status, from the wish and the replicas of this deployment."""
    if deployment.removal or deployment.replicas == 0:
        return Status.STOPPED
    if any(one.state is ReplicaState.READY for one in replicas):
        return Status.RUNNING
    return Status.FAILED if deployment.gave_up else Status.PENDING
