"""The backends by name; what one of them needs is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from management.backends.base import Images, Launcher
from management.backends.engine import Engine
from management.domain import capacity
from management.domain.capacity import Capacity
from management.gateway.route_table import Headers, no_headers
from management.settings import Settings

Name = Literal["process", "docker", "bentocloud"]


async def _always() -> bool:
    return True


async def _nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True)
class Backend:
    """Where models run."""

    name: str
    images: Images
    """What can be deployed on it."""
    keeper: Launcher | Engine
    """What starts and ends replicas on it: one by one as it is told, or by itself."""
    capacity: Capacity
    """What it has for replicas."""
    answers: Callable[[], Awaitable[bool]] = _always
    """Whether it can be asked for anything now; within a second or so."""
    headers: Headers = no_headers
    """What a replica on it wants with each request."""
    close: Callable[[], Awaitable[None]] = _nothing
    """Ends what was begun to ask it."""


def make(settings: Settings) -> Backend:
    """The one that the settings name."""
    match settings.backend:
        case "process":
            from management.backends.process.launcher import ProcessLauncher
            from management.packaging.bentos import BentoStore

            store = BentoStore(settings.bentoml_home)
            return Backend("process", store, ProcessLauncher(settings), capacity.of_machine(settings))
        case "docker":
            from management.backends.docker.client import DockerEngine
            from management.backends.docker.images import DockerImages
            from management.backends.docker.launcher import DockerLauncher

            engine = DockerEngine(settings.docker_socket)
            launcher = DockerLauncher(engine, settings)
            machine = capacity.of_machine(settings)
            images = DockerImages(engine, settings)
            return Backend("docker", images, launcher, machine, engine.answers, launcher.headers, engine.close)
        case "bentocloud":
            from management.backends.bentocloud.engine import BentoCloud
            from management.packaging.bentos import BentoStore

            cloud = BentoCloud(settings)
            endless = capacity.elsewhere(settings)
            store = BentoStore(settings.bentoml_home)
            return Backend("bentocloud", store, cloud, endless, cloud.answers, cloud.headers, cloud.close)
