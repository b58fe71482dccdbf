"""The backend ``process``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend
from management.backends.process.environments.preparer import UvPreparer
from management.backends.process.images import BentoStore
from management.backends.process.launcher import ProcessLauncher
from management.backends.process.settings import ProcessSettings
from management.packaging.shared.opening import bento_shelf
from management.settings import CapacitySettings, ReplicaSettings, StorageSettings


def make(
    settings: ProcessSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend that runs replicas as processes of this machine."""
    store = BentoStore(storage.bentoml_home, bento_shelf(storage))
    environments = UvPreparer(store, storage, settings)
    return Backend(
        name="process",
        images=store,
        driver=ProcessLauncher(storage, replicas, environments.interpreter),
        capacity=machine.capacity(capacity),
        environments=environments,
    )
