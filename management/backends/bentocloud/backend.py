"""The backend ``bentocloud``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend
from management.backends.bentocloud.engine import BentoCloud
from management.backends.bentocloud.settings import BentoCloudSettings
from management.backends.process.images import BentoStore
from management.settings import CapacitySettings, ReplicaSettings, StorageSettings


def make(
    settings: BentoCloudSettings, storage: StorageSettings, replicas: ReplicaSettings, capacity: CapacitySettings
) -> Backend:
    """Return the backend that deploys Bentos of this machine's store on BentoCloud."""
    cloud = BentoCloud(settings, storage, replicas.engine_seconds)
    return Backend(
        name="bentocloud",
        images=BentoStore(storage.bentoml_home),
        driver=cloud,
        capacity=machine.capacity_elsewhere(capacity),
        gives_secrets=False,  # they would be variables that anyone with the token can read
        answers=cloud.answers,
        headers=cloud.headers,
        close=cloud.close,
    )
