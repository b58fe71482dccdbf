"""What an application and its sections tell the outermost layer: limits, authentication, and who counts requests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp, Scope

from web.error_shape import ErrorFormatter, ErrorResponse

Authenticate = Callable[[Scope], Awaitable[ErrorResponse | None]]
"""Authenticates a request: returns the error response for a client without access, else None.

It reads the scope that the application sees, whose ``edge.path`` is the path that the client sent, and may store what
it learns in ``scope["state"]``."""


Observe = Callable[[Scope, int, float], None]
"""Called after each answered request with its original scope, its status and the seconds it took.

A websocket is a request of the method ``WEBSOCKET``, which is answered when it is closed: with 101 if it was open."""


BY_HOST: Final = "edge.by_host"
"""Scope key of a request that its host put into its section; its path begins with what ``base_of`` returned."""


logger = logging.getLogger(__name__)


def count(observe: Observe | None, scope: Scope, status: int, seconds: float, identity: str) -> None:
    """Tell the observer of an answered request, whose id is ``identity``. What it raises is logged."""
    try:
        if observe is not None:
            observe(scope, status, seconds)
    except Exception:  # such as a full disk under the metrics files: the response has already been sent
        logger.exception("request %s was not counted", identity)


def no_base(_: Scope) -> str | None:
    """Return None: no request is in the section because of its host."""
    return None


@dataclass(frozen=True)
class Limits:
    """Limits of requests in bytes and seconds. Paths are those that clients send, before any rewrite."""

    body_bytes: int
    """Bytes of the largest request body."""

    request_seconds: float | None
    """Seconds from the body's arrival to the response's first byte; then 504. None where the application has its own
    deadlines."""

    body_seconds: float
    """Seconds for the whole body to arrive; then 408."""

    streams: bool = False
    """Whether bodies pass through without being kept: they count towards no shared memory, and ``body_seconds`` are
    those between two pieces of a body."""

    body_bytes_of: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the largest body, by path."""

    too_large_of: Mapping[str, str] = field(default_factory=dict)
    """Message of the response to a larger body, by path."""

    request_seconds_of: Mapping[str, float] = field(default_factory=dict)
    """Seconds to the response's first byte, by path."""

    probe_seconds_of: Mapping[str, float] = field(default_factory=dict)
    """Seconds of probes such as ``/readyz``, by path; a late probe gets 503."""


@dataclass(frozen=True)
class Section:
    """A subtree of paths that another application serves, with its own limits, error shape and authentication.

    The application sees the original path and answers its own 404s. Its error responses pass unchanged.
    """

    prefix: str
    """Root of the subtree, such as ``/api/v1``."""

    app: ASGIApp

    limits: Callable[[str], Limits]
    """Returns the limits of a path; the section's paths contain ids and cannot be listed."""

    error_formatter: ErrorFormatter
    """Formats the outermost layer's own errors."""

    authenticate: Authenticate | None = None

    observe: Observe | None = None
    """Called for the section's requests instead of the edge's ``observe``, with the scope that the application saw."""

    websockets: bool = False
    """Whether the application serves websockets, too; elsewhere they are refused."""

    base_of: Callable[[Scope], str | None] = no_base
    """Returns what to put before the path of a request whose host alone puts it into the section, such as
    ``/models/hello``; None for any other request."""

    def has(self, path: str) -> bool:
        """Return whether the path belongs to the section."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")
