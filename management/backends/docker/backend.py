"""The backend ``docker``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend
from management.backends.docker.builder import ImageBuilder
from management.backends.docker.client import DockerEngine
from management.backends.docker.images import DockerImages
from management.backends.docker.launcher import DockerLauncher
from management.backends.docker.settings import DockerSettings
from management.packaging.build import BentoHome
from management.packaging.shared.opening import bento_shelf
from management.settings import CapacitySettings, ReplicaSettings, StorageSettings


def make(
    settings: DockerSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend that runs replicas as containers of this machine's Docker Engine."""
    engine = DockerEngine(settings.socket)
    launcher = DockerLauncher(engine, settings, replicas, storage.home)
    builder = ImageBuilder(
        engine, BentoHome(storage.bentoml_home), storage.home.absolute() / "images", bento_shelf(storage)
    )
    return Backend(
        name="docker",
        images=DockerImages(engine, settings, builder),
        driver=launcher,
        capacity=machine.capacity(capacity),
        answers=engine.answers,
        environments=builder,
        headers=launcher.headers,
        close=launcher.close,
    )
