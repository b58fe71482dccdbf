"""Records of deployments and replicas: their states, the legal transitions, and what is derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from management.domain.secrets import SecretReference
from management.domain.strategy import Strategy


class Status(StrEnum):
    """A deployment's status, derived from its desired state and its replicas; never stored."""

    PENDING = "pending"
    """Replicas are requested, and none is ready yet."""
    RUNNING = "running"
    """At least one replica is ready."""
    FAILED = "failed"
    """No replica became ready in several attempts; no further ones are started."""
    STOPPED = "stopped"
    """No replica is requested, or the model is being deleted."""


class ReplicaState(StrEnum):
    """A replica's state."""

    STARTING = "starting"
    """It is recorded and not ready yet."""
    READY = "ready"
    """It answers and receives requests."""
    UNRESPONSIVE = "silent"
    """It was ready and does not answer its probes. It receives no new requests until it answers again."""
    DRAINING = "draining"
    """It receives no new requests and ends when those in flight are answered."""
    FAILED = "failed"
    """It ended, or was killed, although it was needed."""
    GONE = "gone"
    """It ended because it was no longer needed."""

    @property
    def alive(self) -> bool:
        """Whether it may have a process."""
        return self in _ALIVE

    @property
    def active(self) -> bool:
        """Whether it counts towards the requested replicas: it is neither draining nor ended."""
        return self in _ACTIVE


# Every turn asks this of every replica, and to look a member up by its name is slow in Python 3.11.
_ACTIVE: Final = (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.UNRESPONSIVE)
_ALIVE: Final = (*_ACTIVE, ReplicaState.DRAINING)

TRANSITIONS: Final[Mapping[ReplicaState, frozenset[ReplicaState]]] = MappingProxyType(
    {
        ReplicaState.STARTING: frozenset(
            {ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.GONE}
        ),
        ReplicaState.READY: frozenset(
            {ReplicaState.UNRESPONSIVE, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.GONE}
        ),
        ReplicaState.UNRESPONSIVE: frozenset(
            {ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.GONE}
        ),
        ReplicaState.DRAINING: frozenset({ReplicaState.GONE}),
        ReplicaState.FAILED: frozenset(),
        ReplicaState.GONE: frozenset(),
    }
)
"""Every legal transition of a replica; the store refuses others."""


class Deletion(StrEnum):
    """How a deployment is being deleted."""

    GRACEFUL = "drain"
    """After the requests in flight are answered."""
    FORCED = "force"
    """At once."""


@dataclass(frozen=True)
class Resources:
    """Resources of one replica."""

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
        """Return whether every resource is at most the limit's."""
        return (
            self.cpu_millicores <= limit.cpu_millicores
            and self.memory_bytes <= limit.memory_bytes
            and self.gpus <= limit.gpus
        )


NOTHING: Final = Resources(0, 0, 0)
"""No resources: the start of sums."""
GATEWAY: Final = "gateway"
"""Actor of events that an inference request causes."""
LONGEST_TIMEOUT: Final = 600
"""Seconds of the longest timeout of a request; no part between caller and model may end it earlier."""
MOST_CONCURRENCY: Final = 10_000
"""Largest ``target_concurrency``."""
MAX_LABELS, MAX_LABEL_KEY, MAX_LABEL_VALUE = 32, 63, 255
"""Labels of one model, and characters of a label's key and of its value; both are printable."""


@dataclass(frozen=True)
class Scaling:
    """Limits of the number of replicas, and the CPU utilization in percent that scaling aims at."""

    min_replicas: int = 1
    max_replicas: int = 1
    target_cpu_utilization: int = 80
    target_concurrency: int | None = None
    """Requests, in flight or waiting, for each replica that scaling aims at, too; None for no such aim."""

    def clamped(self, replicas: int) -> int:
        """Return the nearest number of replicas within the limits."""
        return max(self.min_replicas, min(replicas, self.max_replicas))


@dataclass(frozen=True)
class ModelConfig:
    """What is deployed. Quantities are kept as written (``"8Gi"``); ``resources`` has their values."""

    name: str
    version: str
    model_type: str
    framework: str
    docker_image: str
    resource_requirements: Mapping[str, str]
    scaling: Scaling
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = NOTHING
    default_api: str = ""
    """API of the Bento that a request means when it names none; empty for no such choice."""
    secrets: tuple[SecretReference, ...] = ()
    """The secrets that its replicas receive; of two with the same variable, the later one counts."""
    access_authorization: bool = True
    """Whether the model's own address requires a key."""
    strategy: Strategy = Strategy.ROLLING_UPDATE
    """How an update replaces replicas."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What callers note about the model, for their own use."""


@dataclass(frozen=True)
class Revision:
    """A numbered configuration; a replica runs exactly one."""

    number: int
    config: ModelConfig


@dataclass(frozen=True)
class Deployment:
    """The desired state of a model, and the progress of its start."""

    id: str
    model_id: str
    target: Revision
    replicas: int
    """Desired number of replicas; 0 stops the model."""
    created_at: datetime
    updated_at: datetime
    last_stable: Revision | None = None
    """The last revision with a replica that became ready; a failed update falls back to it."""
    revision_counter: int = 1
    """The highest revision number so far; the number of a failed revision is not reused."""
    failures: int = 0
    """Replicas that failed in a row since one was last stable."""
    retry_at: float | None = None
    """Unix time before which no replica is started; None for no wait."""
    failed: bool = False
    """Whether no replica is started until a client changes the deployment."""
    rolled_back_from: str = ""
    """Version of the last update if it failed and the previous revision serves on; else empty."""
    rollback_reason: str = ""
    """Why that update failed."""
    reason: str = ""
    """Why the last replica failed; empty without a failure."""
    deletion: Deletion | None = None
    scaled_to_zero: bool = False
    """Whether its replicas were ended because no requests came; the next request starts it."""
    autoscaling_paused_until: float | None = None
    """Unix time until which the autoscaler keeps a number of replicas that a client chose."""

    @property
    def scales_to_zero(self) -> bool:
        """Whether its replicas end when no requests come."""
        return self.target.config.scaling.min_replicas == 0

    @property
    def may_become_ready(self) -> bool:
        """Whether a request may wait for a replica: one is starting, or the request starts one.

        A model's first start may take minutes, or never succeed. Requests do not wait for it, unless the model scales
        to zero.
        """
        if self.deletion or self.failed:
            return False
        return self.scaled_to_zero or (self.replicas > 0 and (self.scales_to_zero or self.last_stable is not None))

    @property
    def is_stable(self) -> bool:
        """Whether a replica of the target revision has ever been ready."""
        return self.last_stable is not None and self.last_stable.number == self.target.number


@dataclass(frozen=True)
class Health:
    """Results of a replica's last probes."""

    failures_in_a_row: int = 0
    """Number of last probes in a row without an answer."""
    successes_in_a_row: int = 0
    """Number of last probes in a row with an answer."""
    seconds_unresponsive: float = 0.0
    """Seconds since its last answer."""


@dataclass(frozen=True)
class Replica:
    """One process, or container, that runs a revision of a deployment."""

    id: str
    deployment_id: str
    revision: Revision
    state: ReplicaState
    created_at: datetime
    changed_at: datetime
    """Time of its last transition."""
    ready_at: datetime | None = None
    address: str = ""
    """Address once it is ready: ``unix:/path`` or ``http://host:port``."""
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs that are reserved for it."""
    reason: str = ""
    """Why it failed, or what it waits for while it starts; empty otherwise."""
    log_tail: str = ""
    """The last lines of its log before it failed."""
    cpu_millicores: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True)
class LoadReport:
    """Load of a model as one worker of the server sees it."""

    worker: str
    deployment_id: str
    in_flight: int
    """Requests that replicas are processing."""
    waiting: int
    """Requests that wait for a slot of a replica."""
    slots: int
    """Requests that this worker lets the replicas process at a time."""
    last_request_at: float
    """Unix time of the last request."""
    reported_at: float
    """Unix time of this report."""


@dataclass(frozen=True)
class Event:
    """A change of a model: who changed what, and when."""

    at: datetime
    model_id: str
    deployment_id: str
    actor: str
    """Name of a key, or ``supervisor``, ``autoscaler``, ``gateway``."""
    action: str
    details: Mapping[str, object]


def status_of(deployment: Deployment, replicas: Iterable[Replica]) -> Status:
    """Return the status of a deployment with these replicas."""
    if deployment.deletion or deployment.replicas == 0:
        return Status.STOPPED
    if any(replica.state is ReplicaState.READY for replica in replicas):
        return Status.RUNNING
    return Status.FAILED if deployment.failed else Status.PENDING
