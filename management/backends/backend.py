"""A backend: its settings, its images, its driver, its capacity, and what requests to its replicas need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from management.backends.engine import Engine
from management.backends.launcher import Headers, Images, Launcher, no_headers
from management.domain.capacity import Capacity
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
    answers: Callable[[], Awaitable[bool]] = _always
    """Return whether the backend can be reached now, within about one second."""
    headers: Headers = no_headers
    """Return the headers that a replica requires on each request."""
    close: Callable[[], Awaitable[None]] = _nothing
    """Close the connections to the backend."""
