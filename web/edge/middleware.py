"""The outermost layer of every service: the checks that no client and no framework can bypass.

It wraps BentoML's own application, whose timeout layer keeps a client waiting when something below it raises, and
which has no limit on bodies. A request passes a sequence of checks, then the application. This layer stays between
the application and the connection in both directions; see ``web.edge.request_cycle`` for that part.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from starlette.types import ASGIApp, Receive, Scope, Send

from web import addresses, memory
from web.edge import access_log, lifespan, websockets
from web.edge.access_log import configure_access_log, request_id
from web.edge.caller import caller, caller_of
from web.edge.disconnect import departed
from web.edge.request_cycle import HEAD, Exchange, RequestLimits
from web.edge.sections import BY_HOST, Authenticate, Limits, Observe, Section, count
from web.error_shape import ErrorFormatter, ErrorResponse, error_response, too_large
from web.tracing import context, spans
from web.tracing.tracer import Value

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

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
"""Methods that spans are named by."""
REPLACED: Final = frozenset({b"x-request-id", b"traceparent", b"tracestate"})
"""Headers of a request that this layer checks, and writes anew."""

Headers = list[tuple[bytes, bytes]]


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
        """Serve HTTP, run the lifespan, and refuse websockets outside the sections that serve them."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        scope = self._addressed(scope)
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
            return
        section = self._section(scope["path"])
        if section is None or not section.websockets:
            await send({"type": "websocket.close", "code": 1008})
            return
        identity = new_id(scope)
        with spans.request(scope["headers"], partial(self._described, scope, section, identity)):
            inside = self._inside({**scope, "method": websockets.METHOD}, identity, section)
            await websockets.serve(section, inside, receive, send, self.name)

    def _addressed(self, scope: Scope) -> Scope:
        """Return the scope with the path that its host adds to it, if it does."""
        for section in self.sections:
            if (base := section.base_of(scope)) is not None:
                raw = base.encode() + scope.get("raw_path", quote(scope["path"]).encode())
                return {**scope, "path": base + scope["path"], "raw_path": raw, BY_HOST: True}
        return scope

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop all applications together; each keeps its own lifespan state."""
        if not self.trusted:
            spans.start()
        try:
            await self._live_all(scope, receive, send)
        finally:
            if spans.recorded():
                await asyncio.to_thread(spans.stop)

    async def _live_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.sections:
            sections = ((section.app, {**scope, "state": self._states[section.prefix]}) for section in self.sections)
            await lifespan.run([(self.app, scope), *sections], receive, send)
        else:
            await self.app(scope, receive, send)

    def _section(self, path: str) -> Section | None:
        return next((section for section in self.sections if section.has(path)), None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        section = self._section(scope["path"])
        identity = new_id(scope)
        described = partial(self._described, scope, section, identity)
        with spans.request(scope["headers"], described) as span:
            exchange = await self._answer(scope, receive, send, identity, section)
            span.set("http.response.status_code", exchange.status)
            if exchange.status >= 500:
                span.fail(str(exchange.status))

    def _described(self, scope: Scope, section: Section | None, identity: str) -> tuple[str, dict[str, Value]]:
        """Return the name of a request's span, and its attributes. Callers cannot invent further names."""
        route = section.prefix if section else scope["path"] if self.routes(scope) else ""
        method = scope.get("method", "WEBSOCKET")
        name = f"{method if method in METHODS else 'HTTP'} {route}".rstrip()
        return name, {"http.request.method": method, "url.path": scope["path"], "atelier.request_id": identity}

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, identity: str, section: Section | None
    ) -> Exchange:
        """Serve the request, log and count it, and return it."""
        token = request_id.set(identity)
        inside, limits = self._inside(scope, identity, section), self._request_limits(scope["path"], section)
        formatter = section.error_formatter if section else None
        lease = None if self.trusted or limits.streams else memory.of_process().lease()
        serve = partial(self._check_and_serve, section, limits)
        exchange = Exchange(serve, inside, receive, send, limits, error_formatter=formatter, lease=lease)
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
                count(observe, observed, exchange.status, exchange.milliseconds() / 1000, identity)
            request_id.reset(token)
        return exchange

    def _inside(self, scope: Scope, identity: str, section: Section | None) -> Scope:
        """Return the scope that the application sees. A rewritten path also gets a new ``raw_path``."""
        state = self._states[section.prefix] if section else scope.get("state", {})
        headers = [(name, value) for name, value in scope["headers"] if name not in REPLACED]
        inside = {
            **scope,
            "headers": [*headers, (b"x-request-id", identity.encode()), *_trace()],
            "state": {**state, "request_id": identity},
            "edge.path": scope["path"],
        }
        if scope["method"] == "HEAD":
            inside |= {"method": "GET", HEAD: True}
        if not section and (target := self.rewrites.get(scope["path"])):
            inside |= {"path": target, "raw_path": quote(target).encode()}
        return inside

    def _request_limits(self, path: str, section: Section | None) -> RequestLimits:
        limits = section.limits(path) if section else self.limits
        probe = limits.probe_seconds_of.get(path)
        late = error_response(504) if probe is None else error_response(503, "Not ready in time", "MODEL_UNAVAILABLE")
        body_bytes = limits.body_bytes_of.get(path, limits.body_bytes)
        return RequestLimits(
            body_bytes=body_bytes,
            body_seconds=limits.body_seconds,
            streams=limits.streams,
            answer_seconds=probe or limits.request_seconds_of.get(path, limits.request_seconds),
            late=late,
            too_large=too_large(body_bytes, limits.too_large_of.get(path)),
        )

    async def _check_and_serve(
        self, section: Section | None, limits: RequestLimits, scope: Scope, receive: Receive, send: Send
    ) -> ErrorResponse | None:
        """Check the request, then run the application; return the error response if a check refuses it."""
        app, authenticate = (section.app, section.authenticate) if section else (self.app, self.authenticate)
        trusted = self.trusted and not section
        refused = None if section or trusted else self._check_path(scope)
        media = _check_media_type(scope["headers"], trusted=trusted, streams=limits.streams)
        refused = refused or media or _check_length(scope["headers"], limits)
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


def _trace() -> Headers:
    """Return the headers of the present trace."""
    trace = context.current.get()
    return [] if trace is None else [(name.encode(), value.encode("latin-1")) for name, value in trace.headers()]


def _check_media_type(headers: Headers, *, trusted: bool, streams: bool) -> ErrorResponse | None:
    """Refuse pickle, which runs code when it is decoded, and compressed bodies, which would bypass the byte limit.

    A compressed body that only streams through is decoded by nothing here.
    """
    if not trusted and any(b"pickle" in value.lower() for value in _values(headers, b"content-type")):
        return error_response(415)
    if not streams and any(
        value.strip().lower() not in {b"", b"identity"} for value in _values(headers, b"content-encoding")
    ):
        return error_response(415, "Compressed bodies are not read here")
    return None


def _check_length(headers: Headers, limits: RequestLimits) -> ErrorResponse | None:
    lengths = {value.strip() for value in _values(headers, b"content-length")}
    if not lengths:
        return None
    if len(lengths) > 1 or not all(map(_LENGTH.match, lengths)):
        return error_response(400, "Content-Length is not one number")
    return limits.too_large if int(lengths.pop()) > limits.body_bytes else None


def _values(headers: Headers, header: bytes) -> list[bytes]:
    return [value for name, value in headers if name == header]


def new_id(scope: Scope) -> str:
    """Return the client's request id if it is safe in log lines and headers, else a new one."""
    given = _values(scope["headers"], b"x-request-id")
    return given[0].decode() if len(given) == 1 and _REQUEST_ID.match(given[0]) else uuid4().hex
