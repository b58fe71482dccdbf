"""The backend ``swarm``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from management.backends import machine
from management.backends.backend import Backend
from management.backends.docker.client import DockerRefused
from management.backends.docker.images import DockerImages
from management.backends.swarm.client import SwarmManager
from management.backends.swarm.launcher import SwarmLauncher
from management.backends.swarm.settings import SwarmSettings
from management.domain.capacity import Capacity
from management.domain.records import Resources
from management.errors import BackendUnavailable
from management.settings import CapacitySettings, ReplicaSettings, StorageSettings

logger = logging.getLogger(__name__)


def make(
    settings: SwarmSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend that runs replicas as services of a Docker Swarm."""
    manager = SwarmManager(settings.socket)
    launcher = SwarmLauncher(manager, settings, replicas, storage.home, capacity.overcommit)
    open_ones = None in (capacity.cpus, capacity.memory, capacity.gpus)
    measure = partial(_limit, manager, settings, capacity) if open_ones else None
    return Backend(
        name="swarm",
        images=DockerImages(manager, settings),
        driver=launcher,
        capacity=Capacity(_first_limit(measure, capacity), capacity.overcommit),
        measure=measure,
        answers=manager.answers,
        headers=launcher.headers,
        close=launcher.close,
    )


def _first_limit(measure: Callable[[], Resources] | None, capacity: CapacitySettings) -> Resources:
    """Return the limit at the start. Where the manager does not answer, it is unlimited, but for GPUs.

    Swarm itself places nothing where there is no room.
    """
    given = machine.capacity_elsewhere(capacity).limit
    if measure is not None:
        try:
            return measure()
        except BackendUnavailable as error:
            logger.warning("the capacity of the swarm is not known: %s", error.details["reason"])
            given = replace(given, gpus=0 if capacity.gpus is None else given.gpus)
    return _overcommitted(given, capacity)


def _limit(manager: SwarmManager, settings: SwarmSettings, capacity: CapacitySettings) -> Resources:
    """Return the limit that the settings give, otherwise that of the nodes which are in use now.

    Raises BackendUnavailable where the manager does not tell.
    """
    try:
        found = resources(manager.ask_now(lambda client: client.nodes()), settings.gpu_resource)
    except DockerRefused as error:
        raise BackendUnavailable({"backend": "swarm", "reason": str(error)}) from error
    given = machine.capacity_elsewhere(capacity).limit
    own = Resources(
        found.cpu_millicores if capacity.cpus is None else given.cpu_millicores,
        found.memory_bytes if capacity.memory is None else given.memory_bytes,
        found.gpus if capacity.gpus is None else given.gpus,
    )
    return _overcommitted(own, capacity)


def _overcommitted(own: Resources, capacity: CapacitySettings) -> Resources:
    times = capacity.overcommit
    return Resources(round(own.cpu_millicores * times), round(own.memory_bytes * times), own.gpus)


def resources(nodes: Sequence[dict[str, Any]], gpu_resource: str) -> Resources:
    """Return the resources of all nodes that Swarm places tasks on."""
    used = [
        node["Description"]["Resources"]
        for node in nodes
        if node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active"
    ]
    return Resources(
        sum(each.get("NanoCPUs", 0) for each in used) // 1_000_000,
        sum(each.get("MemoryBytes", 0) for each in used),
        sum(_gpus(each.get("GenericResources") or (), gpu_resource) for each in used),
    )


def _gpus(declared: Sequence[dict[str, Any]], kind: str) -> int:
    """Return the number of GPUs among a node's generic resources: counted, or named one by one."""
    counted = (each["DiscreteResourceSpec"] for each in declared if "DiscreteResourceSpec" in each)
    named = (each["NamedResourceSpec"] for each in declared if "NamedResourceSpec" in each)
    return sum(int(each["Value"]) for each in counted if each["Kind"] == kind) + sum(
        int(each["Kind"] == kind) for each in named
    )
