"""A call: one HTTP exchange with a replica, as the gateway queues it, and what a caller asks for beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from management.gateway.priority import Priority

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing, so that a request may be repeated (RFC 9110, 9.2.1)."""
IDEMPOTENCY_KEY: Final = "idempotency-key"
"""Header whose sender allows a repetition."""

Headers = Sequence[tuple[str, str]]
"""Names and values of HTTP headers, in order."""


@dataclass(frozen=True)
class CallOptions:
    """What a caller asks for beside the call itself."""

    priority: Priority
    seconds: float
    """Seconds until the deadline, waiting included: of the whole answer, or of a stream's first byte."""
    request_id: str
    size: int = 0
    """Bytes of the request that are kept in memory while it waits."""


@dataclass(frozen=True)
class Call:
    """An HTTP request for a model's own address."""

    method: str
    target: str
    """Path and query as they are sent to the replica, percent-encoded."""
    path: str
    """The path alone, decoded."""
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    """The whole body, or its pieces, which can be sent once."""
    repeatable: bool = False
    """Whether the caller allows a repetition of any method, as with an inference."""

    @property
    def may_repeat(self) -> bool:
        """Whether the request may be sent again although a replica may have processed it."""
        named = any(name.lower() == IDEMPOTENCY_KEY for name, _ in self.headers)
        return (self.repeatable or self.method in SAFE_METHODS or named) and isinstance(self.body, bytes)

    def sent(self, progress: Callable[[], None]) -> Call:
        """Return the call with a body that calls ``progress`` at each of its pieces."""
        return self if isinstance(self.body, bytes) else replace(self, body=_noted(self.body, progress))


async def _noted(pieces: AsyncIterator[bytes], progress: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        progress()
        yield piece


@dataclass(frozen=True)
class Handshake:
    """A request for a websocket at a model's own address."""

    target: str
    """Path and query as they are sent to the replica, percent-encoded."""
    path: str
    """The path alone, decoded."""
    headers: Headers
    protocols: tuple[str, ...] = ()
    """Subprotocols that the caller offers."""
