"""The backends by name; what one of them needs is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from management.backends.base import Images, Launcher
from management.settings import Settings

Name = Literal["process", "docker"]


@dataclass(frozen=True)
class Backend:
    """Where models run."""

    name: str
    images: Images
    """What can be deployed on it."""
    launcher: Launcher
    """What starts and ends replicas on it."""
    answers: Callable[[], Awaitable[bool]]
    """Whether it can be asked for anything now; within a second or so."""
    close: Callable[[], None]
    """Ends what this process has open of it; what runs on it runs on."""


def make(settings: Settings) -> Backend:
    """The one that the settings name."""
    match settings.backend:
        case "process":
            from management.backends.process import ProcessLauncher
            from management.bentos import BentoStore

            return Backend("process", BentoStore(settings.bentoml_home), ProcessLauncher(settings), _always, _nothing)
        case "docker":
            from management.backends.docker import DockerLauncher
            from management.backends.docker_engine import DockerEngine
            from management.backends.docker_images import DockerImages

            engine = DockerEngine(settings.docker_socket)
            launcher = DockerLauncher(engine, settings)
            return Backend("docker", DockerImages(engine, settings), launcher, engine.answers, engine.close)


async def _always() -> bool:
    return True


def _nothing() -> None:
    pass
