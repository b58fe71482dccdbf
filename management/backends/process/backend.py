"""The backend ``process``."""

from __future__ import annotations

from management.backends import machine
from management.backends.backend import Backend
from management.backends.process.images import BentoStore
from management.backends.process.launcher import ProcessLauncher
from management.settings import Settings


def make(settings: Settings) -> Backend:
    """Return the backend that runs replicas as processes of this machine."""
    return Backend(
        name="process",
        images=BentoStore(settings.bentoml_home),
        driver=ProcessLauncher(settings),
        capacity=machine.capacity(settings),
    )
