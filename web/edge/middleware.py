"""The one outermost layer of every service: what no caller and no framework may get around.

It stands outside BentoML's own application, whose timeout layer keeps a caller waiting when something under it
raises, and which has no limit on bodies. A request passes a ladder of checks, then the application, with this layer
between the application and the connection in both directions; see ``web.edge.request_cycle`` for that part.
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
from web.edge.request_cycle import HEAD, Allowance, Exchange
from web.error_shape import Refusal, Voice, refusal, too_large

__all__ = ["Edge", "Guard", "Limits", "Refusal", "Section", "Voice", "configure_access_log", "request_id"]

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")

Headers = list[tuple[bytes, bytes]]

Guard = Callable[[Scope], Awaitable[Refusal | None]]
"""The door: who may not come in is refused. It judges by the scope that the application sees, whose ``edge.path`` is
the path that the caller wrote, and may put what it learns into ``scope["state"]``."""


Observe = Callable[[Scope, int, float], None]
"""Is told of each answered request: its scope as it came, the status, and the seconds it took."""


@dataclass(frozen=True)
class Limits:
    """How much and how long a caller may ask. Paths are those that callers use, before any rewrite."""

    body_bytes: int
    """Bytes of a request's body."""

    request_seconds: float
    """Seconds from the body's arrival to the answer's first byte; then 504."""

    body_seconds: float
    """Seconds for the whole body; then 408."""

    body_bytes_of: Mapping[str, int] = field(default_factory=dict)
    """Bytes of a body on single paths."""

    too_large_of: Mapping[str, str] = field(default_factory=dict)
    """What a larger body is told on single paths."""

    request_seconds_of: Mapping[str, float] = field(default_factory=dict)
    """Seconds to the answer's first byte on single paths."""

    probe_seconds_of: Mapping[str, float] = field(default_factory=dict)
    """Seconds of single probes such as ``/readyz``, which answer 503 when they are late."""


@dataclass(frozen=True)
class Section:
    """A part of the paths that another application serves, with limits, error shape and door of its own.

    The application sees the path as it came, answers its own 404s, and its error answers pass as they are.
    """

    prefix: str
    """Such as ``/api/v1``: it and everything below it."""

    app: ASGIApp

    limits: Callable[[str], Limits]
    """How much and how long a caller may ask on a path of the section; such paths hold ids, and cannot be listed."""

    voice: Voice
    """How the edge's own refusals are worded."""

    guard: Guard | None = None

    observe: Observe | None = None
    """Is told of the section's requests, and the edge's own is not; the scope is the one that the application saw."""

    def has(self, path: str) -> bool:
        """Whether the path is the section's."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")


class Edge:
    """An ASGI application around another one, which callers reach through it only.

    ``routes`` says whether any route of the application has the path: others get 404 here, before BentoML makes a
    metric's label of them. ``rewrites`` leads a path to another one inside; ``hidden`` paths exist inside only.
    A ``trusted`` application is reached through a unix socket by our own front door alone: every path passes as it is,
    and so does pickle. ``guard`` is the application's; nothing of all this is for ``sections`` but their own.
    ``observe`` hears of every request that is logged, but for those of sections.
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
        guard: Guard | None = None,
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
        self.guard = guard
        self.observe = observe
        self._states: dict[str, dict[str, Any]] = {section.prefix: {} for section in self.sections}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves HTTP, lets the lifespan through and refuses websockets, which no service of ours speaks."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The applications begin and end together; what each keeps for its requests is its own."""
        if self.sections:
            others = ((one.app, {**scope, "state": self._states[one.prefix]}) for one in self.sections)
            await lifespan.run([(self.app, scope), *others], receive, send)
        else:
            await self.app(scope, receive, send)

    def _section(self, path: str) -> Section | None:
        return next((section for section in self.sections if section.has(path)), None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = _request_id(scope["headers"])
        token = request_id.set(identity)
        section = self._section(scope["path"])
        inside, allowance = self._inside(scope, identity), self._allowance(scope["path"])
        voice = section.voice if section else None
        lease = None if self.trusted else memory.of_process().lease()
        exchange = Exchange(self._judged, inside, receive, send, allowance, voice=voice, lease=lease)
        leaving = departed.set(exchange.left)
        try:
            await exchange.run()
        finally:
            departed.reset(leaving)
            if section or not self.trusted:  # the front door has a line for it, and a batch is nobody's single request
                self._log(scope, exchange)
                observe, seen = (
                    (section.observe, {**inside, "method": scope["method"]}) if section else (self.observe, scope)
                )
                self._count(observe, seen, exchange)
            request_id.reset(token)

    def _inside(self, scope: Scope, identity: str) -> Scope:
        """The scope that the application sees. Its path is decoded, so the raw one is made from it where it changes."""
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

    def _allowance(self, path: str) -> Allowance:
        section = self._section(path)
        limits = section.limits(path) if section else self.limits
        probe = limits.probe_seconds_of.get(path)
        late = refusal(504) if probe is None else refusal(503, "Not ready in time", "MODEL_UNAVAILABLE")
        body_bytes = limits.body_bytes_of.get(path, limits.body_bytes)
        return Allowance(
            body_bytes=body_bytes,
            body_seconds=limits.body_seconds,
            answer_seconds=probe or limits.request_seconds_of.get(path, limits.request_seconds),
            late=late,
            too_large=too_large(body_bytes, limits.too_large_of.get(path)),
        )

    async def _judged(self, scope: Scope, receive: Receive, send: Send) -> Refusal | None:
        """Runs the application, unless a step of the ladder refuses the request."""
        section = self._section(scope["edge.path"])
        app, guard = (section.app, section.guard) if section else (self.app, self.guard)
        trusted = self.trusted and not section
        refused = None if section or trusted else self._wrong_path(scope)
        refused = refused or _wrong_kind(scope["headers"], trusted=trusted) or self._wrong_length(scope)
        if refused is None and guard is not None:
            refused = await guard(scope)
        if refused is None:
            if not trusted:  # the front door says for whom it asks
                caller.set(caller_of(scope))
            await app(scope, receive, send)
        return refused

    # A guard judges on scope["edge.path"] as well: a URL that is put together from the Host header says what the
    # caller wants it to say.
    def _wrong_path(self, scope: Scope) -> Refusal | None:
        known = scope["edge.path"] not in self.hidden and self.routes(scope)
        return None if known else refusal(404)

    def _wrong_length(self, scope: Scope) -> Refusal | None:
        lengths = {value.strip() for value in _values(scope["headers"], b"content-length")}
        if not lengths:
            return None
        if len(lengths) > 1 or not all(map(_LENGTH.match, lengths)):
            return refusal(400, "Content-Length is not one number")
        allowance = self._allowance(scope["edge.path"])
        return allowance.too_large if int(lengths.pop()) > allowance.body_bytes else None

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
        except Exception:  # a full disk under the metrics' files, perhaps: the answer is out
            logger.exception("request %s was not counted", request_id.get())


def _wrong_kind(headers: Headers, *, trusted: bool) -> Refusal | None:
    """Pickle runs code when it is read; a compressed body would pass the byte limit small and unfold behind it."""
    if not trusted and any(b"pickle" in value.lower() for value in _values(headers, b"content-type")):
        return refusal(415)
    if any(value.strip().lower() not in {b"", b"identity"} for value in _values(headers, b"content-encoding")):
        return refusal(415, "Compressed bodies are not read here")
    return None


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]


def _request_id(headers: Headers) -> str:
    """The caller's, where there is one that can do no harm in a log line or a header."""
    given = _values(headers, b"x-request-id")
    return given[0].decode() if len(given) == 1 and _REQUEST_ID.match(given[0]) else uuid4().hex
