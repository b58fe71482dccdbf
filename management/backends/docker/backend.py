"""The backend ``docker``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend
from management.backends.docker.client import DockerEngine
from management.backends.docker.images import DockerImages
from management.backends.docker.launcher import DockerLauncher
from management.settings import Settings


def make(settings: Settings) -> Backend:
    """Return the backend that runs replicas as containers of this machine's Docker Engine."""
    engine = DockerEngine(settings.docker_socket)
    launcher = DockerLauncher(engine, settings)
    return Backend(
        name="docker",
        images=DockerImages(engine, settings),
        driver=launcher,
        capacity=machine.capacity(settings),
        answers=engine.answers,
        headers=launcher.headers,
        close=engine.close,
    )
