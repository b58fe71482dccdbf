"""The outermost layer of every service: the checks that no client and no framework can bypass.

It wraps BentoML's own application, whose timeout layer keeps a client waiting when something below it raises, and
which has no limit on bodies. A request passes a sequence of checks, then the application. This layer stays between
the application and the connection in both directions; see ``web.edge.request_cycle`` for that part.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from starlette.types import ASGIApp, Receive, Scope, Send

from web import addresses, memory
from web.edge import access_log, lifespan
from web.edge.access_log import configure_access_log, request_id
from web.edge.caller import caller, caller_of
from web.edge.disconnect import departed
from web.edge.request_cycle import HEAD, Exchange, RequestLimits
from web.error_shape import ErrorFormatter, ErrorResponse, error_response, too_large

__all__ = [
    "Authenticate",
    "Edge",
    "ErrorFormatter",
    "ErrorResponse",
    "Limits",
    "Section",
    "configure_access_log",
    "request_id",
]

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")

Headers = list[tuple[bytes, bytes]]

Authenticate = Callable[[Scope], Awaitable[ErrorResponse | None]]
"""Authenticates a request: returns the error response for a client without access, else None.

It reads the scope that the application sees, whose ``edge.path`` is the path that the client sent, and may store what
it learns in ``scope["state"]``."""


Observe = Callable[[Scope, int, float], None]
"""Called after each answered request with its original scope, its status and the seconds it took."""


@dataclass(frozen=True)
class Limits:
    """Limits of requests in bytes and seconds. Paths are those that clients send, before any rewrite."""

    body_bytes: int
    """Bytes of the largest request body."""

    request_seconds: float
    """Seconds from the body's arrival to the response's first byte; then 504."""

    body_seconds: float
    """Seconds for the whole body to arrive; then 408."""

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

    def has(self, path: str) -> bool:
        """Return whether the path belongs to the section."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")


class Edge:
    """An ASGI application around another one, which clients reach only through it.

    ``routes`` returns whether the application has a route for the scope. Other paths get 404 here, before BentoML
    turns them into metric labels. ``rewrites`` maps a path to the inner path that serves it. ``hidden`` paths exist
    inside only. A ``trusted`` application is reached only by the project's own front door, through a unix socket: every
    path passes unchanged, and so does pickle. ``observe`` is called for every logged request of the application.
    ``sections`` have their own limits, authentication and observer.
    """

    def __init__(  # noqa: PLR0913
        self,
        app: ASGIApp,
        *,
        name: str,
        routes: Callable[[Scope], bool],
        limits: Limits,
        rewrites: Mapping[str, str] | None = None,
        hidden: frozenset[str] = frozenset(),
        trusted: bool = False,
        sections: Sequence[Section] = (),
        authenticate: Authenticate | None = None,
        observe: Observe | None = None,
    ) -> None:
        self.app = app
        self.name = name
        self.routes = routes
        self.limits = limits
        self.rewrites = {} if trusted else dict(rewrites or {})
        self.hidden = hidden
        self.trusted = trusted
        self.sections = tuple(sections)
        self.authenticate = authenticate
        self.observe = observe
        self._states: dict[str, dict[str, Any]] = {section.prefix: {} for section in self.sections}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve HTTP, run the lifespan, and refuse websockets, which no service here uses."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop all applications together; each keeps its own lifespan state."""
        if self.sections:
            sections = ((section.app, {**scope, "state": self._states[section.prefix]}) for section in self.sections)
            await lifespan.run([(self.app, scope), *sections], receive, send)
        else:
            await self.app(scope, receive, send)

    def _section(self, path: str) -> Section | None:
        return next((section for section in self.sections if section.has(path)), None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = _request_id(scope["headers"])
        token = request_id.set(identity)
        section = self._section(scope["path"])
        inside, limits = self._inside(scope, identity), self._request_limits(scope["path"])
        formatter = section.error_formatter if section else None
        lease = None if self.trusted else memory.of_process().lease()
        exchange = Exchange(
            self._check_and_serve, inside, receive, send, limits, error_formatter=formatter, lease=lease
        )
        leaving = departed.set(exchange.left)
        try:
            await exchange.run()
        finally:
            departed.reset(leaving)
            if section or not self.trusted:  # the front door logs the request; a batch here belongs to several requests
                self._log(scope, exchange)
                observe, observed = (
                    (section.observe, {**inside, "method": scope["method"]}) if section else (self.observe, scope)
                )
                self._count(observe, observed, exchange)
            request_id.reset(token)

    def _inside(self, scope: Scope, identity: str) -> Scope:
        """Return the scope that the application sees. A rewritten path also gets a new ``raw_path``."""
        section = self._section(scope["path"])
        state = self._states[section.prefix] if section else scope.get("state", {})
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
        inside = {
            **scope,
            "headers": [*headers, (b"x-request-id", identity.encode())],
            "state": {**state, "request_id": identity},
            "edge.path": scope["path"],
        }
        if scope["method"] == "HEAD":
            inside |= {"method": "GET", HEAD: True}
        if not section and (target := self.rewrites.get(scope["path"])):
            inside |= {"path": target, "raw_path": quote(target).encode()}
        return inside

    def _request_limits(self, path: str) -> RequestLimits:
        section = self._section(path)
        limits = section.limits(path) if section else self.limits
        probe = limits.probe_seconds_of.get(path)
        late = error_response(504) if probe is None else error_response(503, "Not ready in time", "MODEL_UNAVAILABLE")
        body_bytes = limits.body_bytes_of.get(path, limits.body_bytes)
        return RequestLimits(
            body_bytes=body_bytes,
            body_seconds=limits.body_seconds,
            answer_seconds=probe or limits.request_seconds_of.get(path, limits.request_seconds),
            late=late,
            too_large=too_large(body_bytes, limits.too_large_of.get(path)),
        )

    async def _check_and_serve(self, scope: Scope, receive: Receive, send: Send) -> ErrorResponse | None:
        """Check the request, then run the application; return the error response if a check refuses it."""
        section = self._section(scope["edge.path"])
        app, authenticate = (section.app, section.authenticate) if section else (self.app, self.authenticate)
        trusted = self.trusted and not section
        refused = None if section or trusted else self._check_path(scope)
        refused = refused or _check_media_type(scope["headers"], trusted=trusted) or self._check_length(scope)
        if refused is None and authenticate is not None:
            refused = await authenticate(scope)
        if refused is None:
            if not trusted:  # the front door passes the client's identity itself
                caller.set(caller_of(scope))
            await app(scope, receive, send)
        return refused

    # Authentication reads scope["edge.path"] as well: a URL that is built from the Host header is under the client's
    # control.
    def _check_path(self, scope: Scope) -> ErrorResponse | None:
        known = scope["edge.path"] not in self.hidden and self.routes(scope)
        return None if known else error_response(404)

    def _check_length(self, scope: Scope) -> ErrorResponse | None:
        lengths = {value.strip() for value in _values(scope["headers"], b"content-length")}
        if not lengths:
            return None
        if len(lengths) > 1 or not all(map(_LENGTH.match, lengths)):
            return error_response(400, "Content-Length is not one number")
        limits = self._request_limits(scope["edge.path"])
        return limits.too_large if int(lengths.pop()) > limits.body_bytes else None

    def _log(self, scope: Scope, exchange: Exchange) -> None:
        access_log.write(
            scope["path"],
            exchange.status,
            service=self.name,
            request_id=request_id.get(),
            method=scope["method"],
            ms=exchange.milliseconds(),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            client=addresses.shown(scope.get("client")),
        )

    def _count(self, observe: Observe | None, scope: Scope, exchange: Exchange) -> None:
        try:
            if observe is not None:
                observe(scope, exchange.status, exchange.milliseconds() / 1000)
        except Exception:  # such as a full disk under the metrics files: the response has already been sent
            logger.exception("request %s was not counted", request_id.get())


def _check_media_type(headers: Headers, *, trusted: bool) -> ErrorResponse | None:
    """Refuse pickle, which runs code when it is decoded, and compressed bodies, which would bypass the byte limit."""
    if not trusted and any(b"pickle" in value.lower() for value in _values(headers, b"content-type")):
        return error_response(415)
    if any(value.strip().lower() not in {b"", b"identity"} for value in _values(headers, b"content-encoding")):
        return error_response(415, "Compressed bodies are not read here")
    return None


def _values(headers: Headers, header: bytes) -> list[bytes]:
    return [value for name, value in headers if name == header]


def _request_id(headers: Headers) -> str:
    """Return the client's request id if it is safe in log lines and headers, else a new one."""
    given = _values(headers, b"x-request-id")
    return given[0].decode() if len(given) == 1 and _REQUEST_ID.match(given[0]) else uuid4().hex
