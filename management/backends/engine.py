"""What an engine does for the reconciler: one that keeps replicas, rolls out and scales by itself.

A launcher starts single replicas and is told of each; an engine is told what is wanted, and looked at.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from management.domain.records import Deployment, Revision


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is told of one deployment: a revision, and between how many replicas it is kept."""

    deployment_id: str
    model_id: str
    revision: Revision
    least: int
    most: int

    @property
    def mark(self) -> AppliedSpec:
        """What it is known again by."""
        return AppliedSpec(self.deployment_id, self.revision.number, self.least, self.most)


@dataclass(frozen=True)
class AppliedSpec:
    """Which order an engine has: it is read from what the engine holds, and remembered nowhere else."""

    deployment_id: str
    revision: int
    least: int
    most: int


class EnginePhase(Enum):
    """How a deployment stands on its engine."""

    ABSENT = auto()
    """Nothing of it is there."""
    PENDING = auto()
    """It is on its way: an image is built, replicas start. What served before may serve still."""
    RUNNING = auto()
    """It serves; also where the engine keeps no replica of it until somebody asks."""
    UNHEALTHY = auto()
    """Replicas of it do not answer. That may pass."""
    FAILED = auto()
    """It does not become what was ordered, and the engine tries no more."""
    ENDING = auto()
    """Its replicas are being ended."""
    STOPPED = auto()
    """It is there, and has no replicas until it is started."""

    @property
    def serves(self) -> bool:
        """Whether requests may be answered."""
        return self in (EnginePhase.PENDING, EnginePhase.RUNNING, EnginePhase.UNHEALTHY, EnginePhase.FAILED)


@dataclass(frozen=True)
class EngineStatus:
    """A look at one deployment on its engine."""

    phase: EnginePhase
    name: str = ""
    """What the engine calls it."""
    mark: AppliedSpec | None = None
    """The order that it holds; None where nobody can tell."""
    ready: int | None = None
    """Replicas that answer, of whatever revision; None where nobody counted."""
    address: str = ""
    """Where it is reached: ``https://host``."""
    reason: str = ""
    """The engine's own word for what is wrong."""


NOTHING_THERE: Final = EngineStatus(EnginePhase.ABSENT)


class Engine(ABC):
    """Keeps deployments as they were ordered. Nothing is remembered but by what it holds itself.

    Every method raises BackendUnavailable when it is not known what came of it: nothing is concluded from that, and it
    is tried again. What was not made by this control plane is never touched.
    """

    @abstractmethod
    async def apply(self, order: EngineSpec) -> None:
        """Gives the order, and starts what is stopped; done twice is the same as once. It is done when it is taken.

        Does nothing while an earlier deployment of ours of the same name is still there. Raises LaunchRefusedError
        when the order cannot be taken as it is. May last for as long as it takes to send a model there.
        """

    @abstractmethod
    async def observe(self) -> dict[str, EngineStatus]:
        """A look at everything of ours, by deployment id; what is gone is not among it."""

    @abstractmethod
    async def halt(self, condition: EngineStatus) -> None:
        """Has its replicas ended, and returns; it stays there, STOPPED. One that ended already is no error."""

    @abstractmethod
    async def remove(self, condition: EngineStatus, *, force: bool) -> None:
        """Has it ended, then forgotten; a gone one is no error.

        Called again and again until it is gone, it takes the next step each time. With ``force`` none is waited for.
        """

    @abstractmethod
    async def log(self, deployment: Deployment, lines: int) -> list[list[str]]:
        """The last lines of each of its replicas, as far as the engine has them."""
