"""The backend ``bentocloud``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend
from management.backends.bentocloud.engine import BentoCloud
from management.backends.process.images import BentoStore
from management.settings import Settings


def make(settings: Settings) -> Backend:
    """Return the backend that deploys Bentos of this machine's store on BentoCloud."""
    cloud = BentoCloud(settings)
    return Backend(
        name="bentocloud",
        images=BentoStore(settings.bentoml_home),
        driver=cloud,
        capacity=machine.capacity_elsewhere(settings),
        answers=cloud.answers,
        headers=cloud.headers,
        close=cloud.close,
    )
