"""The backends by name: each is a folder here with a module ``backend``, imported when the settings choose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from pydantic import BaseModel, ConfigDict

from management.backends.backend import Backend, BackendSettings
from management.backends.bentocloud.settings import BentoCloudSettings
from management.backends.docker.settings import DockerSettings
from management.backends.fetching import FetchingPreparer
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.process.settings import ProcessSettings
from management.backends.swarm.settings import SwarmSettings
from management.packaging.shared.opening import open_store
from management.settings import READ, CapacitySettings, ReplicaSettings, StorageSettings


class Backends(BaseModel):
    """The name of every backend, with the settings that it alone reads. A new backend is a folder and a line here."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    process: ProcessSettings = READ
    docker: DockerSettings = READ
    swarm: SwarmSettings = READ
    kubernetes: KubernetesSettings = READ
    bentocloud: BentoCloudSettings = READ


def make(
    name: str, own: BackendSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend of that name, with its ``own`` settings and those that all backends share."""
    make_backend: Callable[..., Backend] = import_module(f"management.backends.{name}.backend").make
    backend = make_backend(own, storage, replicas, capacity)
    if (shared := open_store(storage)) is not None:
        backend = replace(backend, environments=FetchingPreparer(backend.environments, shared))
    return backend
