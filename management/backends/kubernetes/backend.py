"""The backend ``kubernetes``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from management.backends import machine
from management.backends.backend import Backend
from management.backends.kubernetes.client import KubernetesApi, KubernetesRefused
from management.backends.kubernetes.images import RegistryImages
from management.backends.kubernetes.launcher import KubernetesLauncher
from management.backends.kubernetes.settings import KubernetesSettings
from management.domain import quantities
from management.domain.capacity import Capacity
from management.domain.records import Resources
from management.errors import BackendUnavailable
from management.settings import CapacitySettings, ReplicaSettings, StorageSettings

MOST_GPUS: Final = 1024
"""GPUs of a cluster that does not tell: their numbers are counted one by one."""
NO_NODE: Final = frozenset({"NoSchedule", "NoExecute"})
"""Effects of taints that keep replicas off a node."""

logger = logging.getLogger(__name__)


def make(
    settings: KubernetesSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend that runs replicas as Pods of a cluster."""
    api = KubernetesApi(settings)
    launcher = KubernetesLauncher(api, settings, replicas, storage.home)
    measure = partial(_limit, api, capacity) if None in (capacity.cpus, capacity.memory, capacity.gpus) else None
    return Backend(
        name="kubernetes",
        images=RegistryImages(settings),
        driver=launcher,
        capacity=Capacity(_first_limit(measure, capacity)),
        measure=measure,
        answers=api.answers,
        headers=launcher.headers,
        close=launcher.close,
    )


def _first_limit(measure: Callable[[], Resources] | None, settings: CapacitySettings) -> Resources:
    """Return the capacity at the start: unlimited where the cluster does not tell it."""
    given = machine.capacity_elsewhere(settings).limit
    if measure is None:
        return given
    try:
        return measure()
    except BackendUnavailable as error:
        logger.warning("the capacity of the cluster counts as unlimited: %s", error.details.get("reason"))
        return replace(given, gpus=MOST_GPUS if settings.gpus is None else given.gpus)


def _limit(api: KubernetesApi, settings: CapacitySettings) -> Resources:
    """Return the capacity of the settings; of what they leave open, that of the nodes that are there now.

    Raises BackendUnavailable where the nodes cannot be listed.
    """
    try:
        there = allocatable(api.nodes())
    except KubernetesRefused as error:
        raise BackendUnavailable({"backend": "kubernetes", "reason": f"its nodes cannot be listed: {error}"}) from error
    given = machine.capacity_elsewhere(settings).limit
    return Resources(
        there.cpu_millicores if settings.cpus is None else given.cpu_millicores,
        there.memory_bytes if settings.memory is None else given.memory_bytes,
        there.gpus if settings.gpus is None else given.gpus,
    )


def allocatable(nodes: list[dict[str, Any]]) -> Resources:
    """Return what all nodes together give to Pods that are ready and take any Pod."""
    there = [node["status"]["allocatable"] for node in nodes if _takes_pods(node)]
    return Resources(
        sum(quantities.cpu_millicores(node["cpu"]) for node in there),
        sum(quantities.memory_bytes(node["memory"]) for node in there),
        sum(quantities.gpus(node.get(quantities.GPU, "0")) for node in there),
    )


def _takes_pods(node: dict[str, Any]) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions") or ()}
    tainted = any(taint.get("effect") in NO_NODE for taint in node["spec"].get("taints") or ())
    return conditions.get("Ready") == "True" and not node["spec"].get("unschedulable") and not tainted
