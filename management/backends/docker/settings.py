"""The settings of the backend ``docker``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from management.backends.backend import BackendSettings
from management.settings import Count


def _own_network(name: str) -> str:
    """Refuse the networks that every engine has: they give no isolation, or no connection."""
    if name in ("host", "none", "bridge", "default"):
        raise ValueError("must name a network of its own")
    return name


NetworkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"), AfterValidator(_own_network)]


class EngineSettings(BackendSettings):
    """What every backend on a Docker Engine reads; each has variables of its own for it."""

    library = "docker"

    socket: Path = Path("/var/run/docker.sock")
    """Unix socket of the Docker Engine."""

    pull: Literal["never", "missing"] = "never"
    """Whether images that the engine does not have are pulled from the registry in their name."""

    images: str = "*"
    """Names of images that may be deployed: patterns with ``*``, separated by commas, such as
    ``atelier/*,registry.example/team/*``."""

    pids: Count = 512
    """Processes and threads that one container may have."""


class DockerSettings(EngineSettings):
    """The backend ``docker``."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_DOCKER_")

    network: NetworkName = "atelier"
    """Network of the engine for replicas; created without a connection between replicas if it does not exist."""
