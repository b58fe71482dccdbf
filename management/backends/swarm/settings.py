"""The settings of the backend ``swarm``."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from management.backends.docker.settings import EngineSettings, NetworkName

CONSTRAINT: Final = re.compile(r"(node|engine)\.[a-zA-Z0-9_.-]+ *(==|!=) *[^=!]+\Z")
SPREAD: Final = re.compile(r"(node|engine)\.labels\.[a-zA-Z0-9_.-]+\Z")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _constraints(constraints: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(CONSTRAINT.match, constraints)):
        raise ValueError("must be constraints of Swarm, such as node.labels.gpu==true, separated by commas")
    return constraints


def _spreads(labels: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(SPREAD.match, labels)):
        raise ValueError("must be labels of nodes, such as node.labels.zone, separated by commas")
    return labels


class SwarmSettings(EngineSettings):
    """The backend ``swarm``."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_SWARM_")

    address: Literal["overlay", "host"] = "overlay"
    """Where replicas are called: ``overlay`` at their addresses in ``network``, which the control plane must be in,
    too; ``host`` at a port that each publishes on its node, which every host can reach that reaches the node."""

    network: NetworkName = "atelier"
    """Overlay network of the replicas; created, and attachable, if it does not exist."""

    constraints: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_constraints)] = ()
    """Nodes that replicas may run on: constraints of Swarm, separated by commas, such as
    ``node.role==worker,node.labels.models==true``."""

    spread: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_spreads)] = ()
    """Labels of nodes over whose values replicas are spread evenly, separated by commas, such as
    ``node.labels.zone``."""

    gpu_resource: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "NVIDIA-GPU"
    """Name of the generic resource by which nodes declare their GPUs."""
