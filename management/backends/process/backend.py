"""The backend ``process``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend, BackendSettings
from management.backends.process.images import BentoStore
from management.backends.process.launcher import ProcessLauncher
from management.settings import CapacitySettings, ReplicaSettings, StorageSettings


def make(
    _: BackendSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend that runs replicas as processes of this machine."""
    return Backend(
        name="process",
        images=BentoStore(storage.bentoml_home),
        driver=ProcessLauncher(storage, replicas),
        capacity=machine.capacity(capacity),
    )
