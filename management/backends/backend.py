"""A backend: its settings, its images, its driver, its capacity, and what requests to its replicas need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from management.backends.engine import Engine
from management.backends.launcher import Headers, Images, Launcher, no_headers
from management.backends.preparation import EnvironmentPreparer, ImageIsEnvironment
from management.domain.capacity import Capacity
from management.domain.records import Resources
from management.errors import BackendUnavailable
from management.settings import SettingsGroup


class BackendSettings(SettingsGroup):
    """The settings that one backend alone reads; this class is for a backend without any."""

    library: ClassVar[str | None] = None
    """Package that the backend needs."""

    def check(self) -> None:
        """Raise ValueError for settings that the backend cannot run with. Only the chosen backend is checked."""


async def _always() -> bool:
    return True


async def _nothing() -> None:
    """Do nothing: the backend holds no connection."""


@dataclass(frozen=True)
class Backend:
    """A place where models run."""

    name: str
    images: Images
    """The images that can be deployed on it."""
    driver: Launcher | Engine
    """What starts and stops replicas: a launcher one replica per call, an engine on its own."""
    capacity: Capacity
    """Upper limit of the resources that all replicas together request."""
    measure: Callable[[], Resources] | None = None
    """Return that limit as it is now, in the caller's thread; None where it stays.

    Raises BackendUnavailable where the backend does not tell.
    """
    gives_secrets: bool = True
    """Whether replicas can be given secrets."""
    answers: Callable[[], Awaitable[bool]] = _always
    """Return whether the backend can be reached now, within about one second."""
    environments: EnvironmentPreparer = field(default_factory=ImageIsEnvironment)
    """What prepares the environments of its replicas."""
    headers: Headers = no_headers
    """Return the headers that a replica requires on each request."""
    close: Callable[[], Awaitable[None]] = _nothing
    """Close the connections to the backend."""

    async def measure_capacity(self) -> None:
        """Take the capacity as it is now; it stays where the backend does not tell."""
        if self.measure is not None:
            with suppress(BackendUnavailable):
                self.capacity.limit = await asyncio.to_thread(self.measure)
