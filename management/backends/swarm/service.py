"""The service that a replica is: what Swarm is asked for.

It has one task, which Swarm places and never starts again. A stopped replica's service stays for its log and its
reason: it gets a placement that no node fulfils, so that Swarm ends the task, keeps it, and starts no other one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from management.backends.docker.container import (
    FOLDER,
    INSTANCE,
    LOG_DRIVER,
    MIN_MILLICORES,
    MODEL,
    PORT,
    REPLICA,
    log_options,
)
from management.backends.launcher import Launch
from management.backends.replica.environment import MARKER, for_model
from management.backends.replica.files import HOST
from management.backends.swarm.settings import SwarmSettings
from management.settings import ReplicaSettings

STOPPED: Final = "atelier.stopped"
"""Label of a service whose replica was stopped."""
NOWHERE: Final = "node.id==atelier-stopped"
"""Constraint that no node fulfils."""
RESTRICTED_VERSION: Final = (1, 44)
"""API version since which a service can forbid its processes to gain privileges."""
SECOND: Final = 1_000_000_000
"""Nanoseconds, in which Swarm counts time; a core has as many, too."""


@dataclass(frozen=True)
class MountedFile:
    """A config or a secret of Swarm, and where a container has it."""

    id: str
    name: str
    path: str
    """Name in the folder of the replica."""
    owner: int = 0
    mode: int = 0o444

    def reference(self, kind: str) -> dict[str, Any]:
        """Return it as a service refers to it; ``kind`` is ``Config`` or ``Secret``."""
        target = {"Name": f"/{FOLDER}/{self.path}", "UID": str(self.owner), "GID": "0", "Mode": self.mode}
        return {"File": target, f"{kind}ID": self.id, f"{kind}Name": self.name}


@dataclass(frozen=True)
class ServicePlan:
    """What a replica's service has beside its launch."""

    image: str
    """The image as nodes find it: by its id, or by its name with a digest."""
    configs: Sequence[MountedFile]
    secrets: Sequence[MountedFile]
    overcommit: float
    """Multiple of a node's cores and memory that replicas on it may together be limited to."""


def name_of(replica_id: str) -> str:
    """Return the name of a replica's service."""
    return f"atelier-{replica_id}"


def labels(launch: Launch, instance: str) -> dict[str, str]:
    """Return the labels by which a service is found again."""
    return {INSTANCE: instance, REPLICA: launch.replica_id, MODEL: launch.model_id}


def task_template(
    launch: Launch, plan: ServicePlan, settings: SwarmSettings, replicas: ReplicaSettings, version: tuple[int, ...]
) -> dict[str, Any]:
    """Return the description of the task; ``version`` is that of the engine's API."""
    template: dict[str, Any] = {
        "ContainerSpec": {
            "Image": plan.image,
            "Args": ["python", f"/{FOLDER}/{HOST.name}", f"/{FOLDER}"],
            "Env": [f"{name}={value}" for name, value in {**for_model(launch), MARKER: launch.replica_id}.items()],
            "Init": True,  # reaps orphaned processes and forwards signals
            "CapabilityDrop": ["ALL"],
            "Healthcheck": {"Test": ["NONE"]},  # the image's own check uses another port
            "StopGracePeriod": round(replicas.stop_seconds * SECOND),
            "Configs": [file.reference("Config") for file in plan.configs],
            "Secrets": [file.reference("Secret") for file in plan.secrets],
        },
        "Resources": _resources(launch, settings, plan.overcommit),
        "RestartPolicy": {"Condition": "none", "MaxAttempts": 0},
        "Placement": {
            "Constraints": list(settings.constraints),
            "Preferences": [{"Spread": {"SpreadDescriptor": label}} for label in settings.spread],
        },
        "LogDriver": {"Name": LOG_DRIVER, "Options": log_options(replicas.log_bytes)},
    }
    if version >= RESTRICTED_VERSION:
        template["ContainerSpec"]["Privileges"] = {"NoNewPrivileges": True}
    if settings.address == "overlay":
        template["Networks"] = [{"Target": settings.network}]
    return template


def _resources(launch: Launch, settings: SwarmSettings, overcommit: float) -> dict[str, Any]:
    wanted = launch.resources
    cpu = max(MIN_MILLICORES, wanted.cpu_millicores) * (SECOND // 1000)
    gpus = [{"DiscreteResourceSpec": {"Kind": settings.gpu_resource, "Value": len(launch.gpus)}}] if launch.gpus else []
    return {
        "Limits": {"NanoCPUs": cpu, "MemoryBytes": wanted.memory_bytes, "Pids": settings.pids},
        "Reservations": {
            "NanoCPUs": round(cpu / overcommit),
            "MemoryBytes": round(wanted.memory_bytes / overcommit),
            "GenericResources": gpus,
        },
    }


def endpoint(settings: SwarmSettings) -> dict[str, Any]:
    """Return how the service is reached: no address of the service itself, and a port of the node if it is set so."""
    if settings.address == "overlay":
        return {"Mode": "dnsrr"}
    return {"Mode": "dnsrr", "Ports": [{"Protocol": "tcp", "TargetPort": PORT, "PublishMode": "host"}]}


def stopped_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a task that takes the place of the one that is to end.

    It needs nothing and runs nowhere, and no config or secret is in use for it.
    """
    container = {key: value for key, value in template["ContainerSpec"].items() if key not in ("Secrets", "Configs")}
    return {
        **template,
        "ContainerSpec": container,
        "Resources": {},
        "Placement": {"Constraints": [NOWHERE]},
    }


def is_placeholder(task: Mapping[str, Any]) -> bool:
    """Return whether the task is the one that takes the place of an ended one."""
    return NOWHERE in ((task["Spec"].get("Placement") or {}).get("Constraints") or ())


def is_stopped(service: Mapping[str, Any]) -> bool:
    """Return whether the service's replica was stopped."""
    return STOPPED in service["Spec"]["Labels"]
