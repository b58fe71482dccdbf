"""What a backend brings: images, a driver, its capacity, and how to reach its replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from management.backends.base import Headers, Images, Launcher, no_headers
from management.backends.engine import Engine
from management.domain.capacity import Capacity


async def _always() -> bool:
    return True


async def _nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True)
class Backend:
    """Where models run."""

    name: str
    images: Images
    """What can be deployed on it."""
    driver: Launcher | Engine
    """What starts and stops replicas: a launcher one by one as it is called, an engine by itself."""
    capacity: Capacity
    """What all replicas together may ask for."""
    answers: Callable[[], Awaitable[bool]] = _always
    """Whether the backend can be reached now. Takes about a second at most."""
    headers: Headers = no_headers
    """What a replica wants with each request."""
    close: Callable[[], Awaitable[None]] = _nothing
    """Closes the connections to the backend."""
