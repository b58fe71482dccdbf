"""The interface of every engine: a system that keeps replicas, rolls out and scales by itself.

A launcher starts and stops single replicas on command. An engine gets a spec and is observed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from management.domain.records import Deployment, Revision


@dataclass(frozen=True)
class EngineSpec:
    """Desired state of one deployment on an engine: a revision, and the limits of its number of replicas."""

    deployment_id: str
    model_id: str
    revision: Revision
    least: int
    most: int

    @property
    def mark(self) -> AppliedSpec:
        """The spec by which the engine's deployment is recognized later."""
        return AppliedSpec(self.deployment_id, self.revision.number, self.least, self.most)


@dataclass(frozen=True)
class AppliedSpec:
    """The spec that an engine's deployment has. It is read from the engine and stored nowhere else."""

    deployment_id: str
    revision: int
    least: int
    most: int


class EnginePhase(Enum):
    """Phase of a deployment on its engine."""

    ABSENT = auto()
    """The engine has no such deployment."""
    PENDING = auto()
    """It is in progress: an image is built or replicas start. The previous revision may still serve."""
    RUNNING = auto()
    """It serves, possibly scaled to zero until the next request."""
    UNHEALTHY = auto()
    """Some of its replicas do not answer; it may recover."""
    FAILED = auto()
    """It did not reach the spec, and the engine has stopped trying."""
    ENDING = auto()
    """Its replicas are being ended."""
    STOPPED = auto()
    """It exists without replicas until it is started."""

    @property
    def serves(self) -> bool:
        """Whether it may answer requests."""
        return self in (EnginePhase.PENDING, EnginePhase.RUNNING, EnginePhase.UNHEALTHY, EnginePhase.FAILED)


@dataclass(frozen=True)
class EngineStatus:
    """Observed state of one deployment on its engine."""

    phase: EnginePhase
    name: str = ""
    """Name of the deployment on the engine."""
    mark: AppliedSpec | None = None
    """The spec that was applied; None when that is unknown."""
    ready: int | None = None
    """Ready replicas of all revisions; None when they were not counted."""
    address: str = ""
    """URL of the deployment: ``https://host``."""
    reason: str = ""
    """What is wrong, in the engine's own words."""


NOTHING_THERE: Final = EngineStatus(EnginePhase.ABSENT)
"""Status of a deployment that the engine does not have."""


class Engine(ABC):
    """Keeps deployments as their specs say. All state is in the engine itself, none in this object.

    Every method raises BackendUnavailable when the outcome is unknown: the caller concludes nothing from it and tries
    again. Deployments that this control plane did not create are never changed.
    """

    @abstractmethod
    async def apply(self, spec: EngineSpec) -> None:
        """Apply the spec and start the deployment if it is stopped; a second call has no further effect.

        Returns once the engine accepts the spec, which may take as long as uploading a model. Does nothing while an
        earlier deployment of this control plane has the same name. Raises LaunchRefused when the spec is rejected.
        """

    @abstractmethod
    async def observe(self) -> dict[str, EngineStatus]:
        """Return the status of every deployment of this control plane that exists, by deployment id."""

    @abstractmethod
    async def halt(self, status: EngineStatus) -> None:
        """End the deployment's replicas without waiting; it stays on the engine as STOPPED.

        A deployment that is stopped already is not an error.
        """

    @abstractmethod
    async def remove(self, status: EngineStatus, *, force: bool) -> None:
        """Take the next step of ending and deleting the deployment; one that is gone is not an error.

        The caller repeats it until the deployment is gone. With ``force``, running replicas are not ended first.
        """

    @abstractmethod
    async def log(self, deployment: Deployment, lines: int) -> list[list[str]]:
        """Return the last lines of each replica's log, as far as the engine has them."""
