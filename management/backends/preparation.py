"""The interface of what prepares environments: no replica starts before the environment that it runs in is ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto


class EnvironmentState(Enum):
    """Whether replicas of an image can start."""

    READY = auto()
    """They can."""
    PREPARING = auto()
    """Their environment is being made."""
    FAILED = auto()
    """It could not be made."""
    ABSENT = auto()
    """It does not exist, and nothing makes it now: the next start does."""


@dataclass(frozen=True)
class Preparation:
    """The environment of an image's replicas at one moment."""

    state: EnvironmentState
    digest: str = ""
    """Name of the environment; empty where replicas run in the server's own."""
    python: str = ""
    """Minor version of its Python, such as ``3.11``."""
    reason: str = ""
    """Why it FAILED."""
    temporary: bool = False
    """Whether another attempt may succeed where this one FAILED: a network or a disk was the cause."""
    seconds: float | None = None
    """Seconds that its making took."""
    size_bytes: int | None = None
    """Bytes of its files."""

    @property
    def is_own(self) -> bool:
        """Whether replicas run in an environment of the image's own."""
        return bool(self.digest)


READY_AT_ONCE = Preparation(EnvironmentState.READY)
"""Preparation of an image that needs none."""


class EnvironmentPreparer(ABC):
    """Makes environments beside the turns of the leader. All state is on disk: any control plane continues from it."""

    @abstractmethod
    async def check(self, image: str) -> None:
        """Return if an environment for the image may be made, or exists. Takes a few seconds at most.

        Raises ImageRefused where its files, or a package index that answers, show that it cannot be made.
        """

    @abstractmethod
    async def prepare(self, image: str, since: float) -> Preparation:
        """Return the image's preparation, which begins now unless it is under way or has an outcome.

        A failure before the Unix time ``since`` is no outcome: the environment is tried again.
        """

    @abstractmethod
    async def look(self, image: str) -> Preparation | None:
        """Return the image's preparation without beginning one.

        None where the image is the environment, and where the backend that holds it does not answer now.
        """

    @abstractmethod
    async def packages(self, image: str) -> Sequence[str]:
        """Return what is installed in the image's own environment, as ``NAME==VERSION``; empty until it is ready."""

    @abstractmethod
    async def log(self, image: str, lines: int) -> list[str]:
        """Return the last lines that the making of the image's own environment wrote, also after its end."""

    @abstractmethod
    async def retain(self, images: Collection[str]) -> None:
        """Remove environments of other images, the least recently used first, while all exceed their disk budget."""

    @abstractmethod
    async def close(self) -> None:
        """End what is being made; the next control plane begins it again."""


class ImageIsEnvironment(EnvironmentPreparer):
    """The preparer of backends whose images bring all that their replicas need."""

    async def check(self, image: str) -> None:
        """Accept every image."""

    async def prepare(self, image: str, since: float) -> Preparation:
        """Return READY."""
        return READY_AT_ONCE

    async def look(self, image: str) -> Preparation | None:
        """Return None."""
        return None

    async def packages(self, image: str) -> Sequence[str]:
        """Return nothing."""
        return ()

    async def log(self, image: str, lines: int) -> list[str]:
        """Return nothing."""
        return []

    async def retain(self, images: Collection[str]) -> None:
        """Remove nothing."""

    async def close(self) -> None:
        """End nothing."""
