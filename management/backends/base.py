"""What every launcher does for the supervisor: start, look at, and end single replicas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from management.domain.records import Replica, Resources

TAIL_BYTES: Final = 256 * 1024
"""Of a log, that are read from its end, however few lines they are."""


@dataclass(frozen=True)
class Launch:
    """What is to be started. Its id is unique for ever, and is how everything else names the replica."""

    replica_id: str
    model_id: str
    docker_image: str
    resources: Resources
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[int, ...] = ()


class Phase(Enum):
    """What is seen of a replica from outside."""

    ABSENT = auto()
    """Nothing of it is there: it was never started, or was cleaned up."""
    STARTING = auto()
    """It runs, and does not answer yet."""
    READY = auto()
    """It runs, proved that it is ours, and says that it is ready."""
    SILENT = auto()
    """It was ready once, runs, and does not answer now."""
    EXITED = auto()
    """It ended."""
    UNKNOWN = auto()
    """It could not be looked at, by a fault of our own: what was known of it stands."""


@dataclass(frozen=True)
class Observation:
    """A look at one replica."""

    phase: Phase
    address: str = ""
    """Where a READY one is reached: ``unix:/path`` or ``http://host:port``."""
    in_flight: int = 0
    """Requests that a READY one is working on."""
    reason: str = ""
    """Why it EXITED, as far as it is known."""
    crashed: bool = False
    """Whether it EXITED by its own doing, as far as it is known: nobody killed it."""


@dataclass(frozen=True)
class Usage:
    """What a replica, with all that it started, uses."""

    cpu_seconds: float
    """CPU time so far."""
    memory_bytes: int
    """Memory now."""


Headers = Callable[[Replica], Mapping[str, str]]
"""What a replica wants with each request to know who asks. Called for each request, because secrets change."""


def no_headers(_: Replica) -> Mapping[str, str]:
    """Headers for replicas that only their control plane reaches."""
    return {}


class LaunchRefusedError(Exception):
    """This launch cannot be made here; the text says why, for whoever deployed it."""


class ImageRefusedError(Exception):
    """This image cannot be deployed here: a kind of problem, and the values of its text."""

    def __init__(self, kind: str, **values: str) -> None:
        super().__init__(kind)
        self.kind, self.values = kind, values


class Images(ABC):
    """What can be deployed on a backend."""

    @abstractmethod
    async def check(self, image: str) -> None:
        """Returns if replicas of it may be started. The name has the form of one with an exact version.

        Raises ImageRefusedError, or BackendUnavailable when nobody can tell.
        """

    async def model_type(self, image: str) -> str | None:
        """The type of model that an image says it has; None where it says nothing, or is not there."""
        return None


class Launcher(ABC):
    """Starts, observes and ends replicas. Nothing is remembered but by what runs and by what lies on disk.

    A control plane that is killed at any instant, and starts again, finds with the same ids what it left.
    """

    @abstractmethod
    async def start(self, launch: Launch) -> None:
        """Begins to start it and returns at once; done twice is the same as once.

        Raises LaunchRefusedError when it cannot even be begun, and BackendUnavailable, as every other method may,
        when it is not known what came of it: nothing is concluded from that, and it is tried again.
        """

    @abstractmethod
    async def observe(self, replica_id: str) -> Observation:
        """A look at it, in about a second at most. An unknown id is ABSENT.

        What this process cannot do says nothing of the replica: without descriptors, memory or threads it is UNKNOWN.
        """

    @abstractmethod
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        """Asks it to end, waits so long, ends it by force. At return nothing of it runs; a gone one is no error."""

    @abstractmethod
    async def usage(self, replica_ids: Collection[str]) -> dict[str, Usage]:
        """What these use, in one go for all; those that are gone are left out."""

    @abstractmethod
    async def running(self) -> list[str]:
        """The ids of all that run, whoever started them: what no record knows is an orphan."""

    @abstractmethod
    async def left(self) -> list[str]:
        """The ids of all of which anything is left on disk, whether it runs or not."""

    @abstractmethod
    async def log(self, replica_id: str, lines: int) -> list[str]:
        """The last lines it wrote, also after its end; none of a replica whose files are gone."""

    @abstractmethod
    async def clean(self, replica_id: str) -> None:
        """Removes what an ended replica left on disk; a gone one is no error."""
