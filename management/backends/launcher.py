"""The interface of every launcher, for the supervisor.

It has three parts: what starts and stops replicas, what lists them, and what measures them. A caller receives the part
that it uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar, Final

from management.domain.bento import Bento
from management.domain.records import Replica, Resources
from management.domain.secrets import NO_SECRETS, SecretContent

TAIL_BYTES: Final = 256 * 1024
"""Bytes read from the end of a log, whatever number of lines they hold."""


@dataclass(frozen=True)
class Launch:
    """What to start. The id is never reused; every other call names the replica by it."""

    replica_id: str
    model_id: str
    docker_image: str
    resources: Resources
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[int, ...] = ()
    secrets: SecretContent = NO_SECRETS
    """Variables and files that must reach the replica alone: no command line, description or file that stays."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the deployment; a backend may read some of them as wishes for its replicas alone."""


class Phase(Enum):
    """State of a replica as observed from outside."""

    ABSENT = auto()
    """Nothing of it exists: it was never started, or was cleaned up."""
    STARTING = auto()
    """It runs and does not answer yet."""
    READY = auto()
    """It runs, has proved its identity, and reports that it is ready."""
    UNRESPONSIVE = auto()
    """It runs and was ready once, but does not answer now."""
    EXITED = auto()
    """It ended."""
    UNKNOWN = auto()
    """It could not be observed because this process failed: the last known state stands."""


@dataclass(frozen=True)
class Observation:
    """The state of one replica at one moment."""

    phase: Phase
    address: str = ""
    """Address of a READY replica: ``unix:/path`` or ``http://host:port``."""
    in_flight: int = 0
    """Requests that a READY replica is processing."""
    reason: str = ""
    """Why it EXITED, or what it waits for while it is STARTING, if that is known."""
    crashed: bool = False
    """Whether it EXITED by itself: no signal from outside is known to have killed it."""
    leaving: bool = False
    """Whether its engine is about to end it, as on a machine that is drained."""

    @property
    def plainly_ready(self) -> bool:
        """Whether it is READY and is to stay so."""
        return self.phase is Phase.READY and not self.leaving


@dataclass(frozen=True)
class ReplicaUsage:
    """Resources that a replica and all processes it started use."""

    cpu_seconds: float
    """CPU seconds since its start."""
    memory_bytes: int
    """Bytes of memory in use now."""
    measured_at: float | None = field(default=None, compare=False)
    """Unix time of the measurement, where the backend measures by itself; None for now."""


Headers = Callable[[Replica], Mapping[str, str]]
"""Returns the headers by which a replica recognizes its caller. Called for each request, because secrets change."""


def no_headers(_: Replica) -> Mapping[str, str]:
    """Return no headers, for replicas that only their control plane can reach."""
    return {}


class LaunchRefused(Exception):
    """The replica cannot be started on this backend; the text tells the operator why."""


class ImageRefused(Exception):
    """The image cannot be deployed on this backend: a kind of problem, and the values of its text."""

    def __init__(self, kind: str, *, log: Sequence[str] = (), **values: str) -> None:
        """``log`` has the last lines of what shows the problem."""
        super().__init__(kind)
        self.kind, self.values, self.log = kind, values, tuple(log)


class Images(ABC):
    """The images that can be deployed on a backend."""

    @abstractmethod
    async def check(self, image: str) -> None:
        """Return if replicas of the image may be started. Its name always has an exact version.

        Raises ImageRefused if not, and BackendUnavailable when the backend cannot answer.
        """

    async def model_type(self, image: str) -> str | None:
        """Return the model type in the image's label; None without such a label or image."""
        return None

    async def describe(self, image: str) -> Bento | None:
        """Return the Bento in the image, by its files; None where the backend does not have them.

        Raises BackendUnavailable when the backend cannot answer.
        """
        return None


class ReplicaLauncher(ABC):
    """Starts, observes and stops single replicas."""

    @abstractmethod
    async def start(self, launch: Launch) -> None:
        """Begin to start the replica and return at once; a second call has no further effect.

        Raises LaunchRefused when the start cannot begin.
        """

    @abstractmethod
    async def observe(self, replica_id: str) -> Observation:
        """Return the replica's state within about one second. An unknown id is ABSENT.

        When this process lacks descriptors, memory or threads, the replica is UNKNOWN: that says nothing about it.
        """

    @abstractmethod
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        """Ask the replica to end, wait ``grace_seconds``, then kill it.

        At return no process of it runs. A replica that is gone is not an error.
        """

    def on_change(self, changed: Callable[[str], None]) -> None:  # noqa: B027 - most backends hear of no change
        """Have ``changed`` called in the event loop, by id, when the backend says something new of a replica.

        Its state need not have changed. A backend that hears of nothing by itself never calls it.
        """


class ReplicaInventory(ABC):
    """Lists what exists of all replicas, with or without a record, and removes what is left of one."""

    @abstractmethod
    async def list_running(self) -> list[str]:
        """Return the ids of all running replicas; one without a record is an orphan."""

    @abstractmethod
    async def list_leftovers(self) -> list[str]:
        """Return the ids of all replicas that have anything on disk, running or not."""

    @abstractmethod
    async def remove_files(self, replica_id: str) -> None:
        """Remove what an ended replica left on disk. A replica that is gone is not an error."""

    async def remove_model_files(self, model_id: str) -> None:  # noqa: B027 - a backend may keep nothing of a model
        """Remove what the replicas of a deleted model shared on disk."""


class ReplicaTelemetry(ABC):
    """Tells what replicas use, and what they wrote."""

    usage_seconds: ClassVar[float] = 0.0
    """Seconds in which a backend that measures by itself has nothing new to tell."""

    @abstractmethod
    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        """Return the usage of these replicas by id, measured in one pass; replicas that are gone are left out."""

    @abstractmethod
    async def log(self, replica_id: str, lines: int) -> list[str]:
        """Return the last lines that the replica wrote, also after its end; empty once its files are gone."""


class Launcher(ReplicaLauncher, ReplicaInventory, ReplicaTelemetry):
    """What a backend of single replicas does. All state is in the running replicas and on disk, none in this object.

    A control plane that is killed at any instant finds its replicas under the same ids after a restart.
    Every method raises BackendUnavailable when the outcome is unknown: the caller concludes nothing from it and tries
    again.
    """
