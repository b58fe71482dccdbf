"""The limit of concurrent connections of a process, in total and per address, before file descriptors run out.

An idle connection is closed for a new one. A connection that cannot be admitted gets 503 instead of no answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from web import addresses
from web.error_shape import OVERLOADED

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MAX_CONNECTIONS: Final = 8192
"""Connections of a process, even if its descriptors would allow more."""
MIN_CONNECTIONS: Final = 16
"""Connections of a process, even if its descriptors would allow fewer."""
RESERVED_DESCRIPTORS: Final = 512
"""Descriptors reserved for replicas, the database, logs and libraries; at most a quarter of all."""
DESCRIPTORS_PER_CONNECTION: Final = 2
"""Descriptors of a connection: its own, and that of the call to a model."""


def _overloaded_response() -> bytes:
    body = OVERLOADED.body()
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in OVERLOADED.headers)
    described = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + headers + described + b"\r\n" + body


OVERLOADED_RESPONSE: Final = _overloaded_response()


def raise_descriptors() -> None:
    """Raise the soft limit to the descriptors of ``MAX_CONNECTIONS``, as far as the hard limit allows."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = DESCRIPTORS_PER_CONNECTION * MAX_CONNECTIONS + RESERVED_DESCRIPTORS
    target = target if hard == resource.RLIM_INFINITY else min(target, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def bound() -> int:
    """Return the number of connections that this process's descriptor limit allows."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource is not None else -1
    if soft < 0:  # no limit
        return MAX_CONNECTIONS
    return min(
        MAX_CONNECTIONS,
        max(MIN_CONNECTIONS, (soft - min(RESERVED_DESCRIPTORS, soft // 4)) // DESCRIPTORS_PER_CONNECTION),
    )


@dataclass
class Crowd:
    """The admitted connections, oldest first: at most ``limit``, and ``per_address`` from one address."""

    limit: int
    per_address: int
    members: dict[Admission, str] = field(default_factory=dict)
    addresses: Counter[str] = field(default_factory=Counter)

    def admits(self, address: str) -> bool:
        """Return whether there is room for a connection from the address, after closing an idle one if necessary."""
        if self.addresses[address] >= self.per_address and not self._make_room(address):
            return False
        return len(self.members) < self.limit or self._make_room(None)

    def enter(self, connection: Admission, address: str) -> None:
        """Add an admitted connection."""
        self.members[connection] = address
        self.addresses[address] += 1

    def leave(self, connection: Admission) -> None:
        """Remove a connection; one that was not admitted is ignored."""
        address = self.members.pop(connection, None)
        if address is None:
            return
        self.addresses[address] -= 1
        if not self.addresses[address]:
            del self.addresses[address]

    def _make_room(self, address: str | None) -> bool:
        candidates = (member for member, origin in self.members.items() if address in (None, origin))
        idle = next((member for member in candidates if member.waits()), None)
        if idle is None:
            return False
        self.leave(idle)
        idle.dismiss()
        return True


class Admission(asyncio.Protocol):
    """Comes before all other protocol classes: a connection that is not admitted reaches none of them."""

    crowd: ClassVar[Crowd | None] = None
    _let_in = True
    _outer: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or answer 503."""
        self._outer = transport
        address = addresses.block(transport.get_extra_info("peername"))
        if self.crowd is not None and not self.crowd.admits(address):
            self._let_in = False
            self.turn_away(transport)
            return
        if self.crowd is not None:
            self.crowd.enter(self, address)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place."""
        if self.crowd is not None:
            self.crowd.leave(self)
        if self._let_in:
            super().connection_lost(exc)

    def handle_websocket_upgrade(self, *event: Any) -> None:
        """Keep the place, and the limits, of a connection that uvicorn's websocket class takes over."""
        super().handle_websocket_upgrade(*event)  # type: ignore[misc]
        taker = self._outer.get_protocol()
        if taker is self:  # uvicorn has closed it
            return
        ends: Callable[[Exception | None], None] = taker.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            ends(exc)
            if self.crowd is not None:
                self.crowd.leave(self)

        taker.connection_lost = connection_lost

    def turn_away(self, transport: Any) -> None:
        """Answer 503 before any request, and close."""
        transport.write(OVERLOADED_RESPONSE)
        transport.close()

    def waits(self) -> bool:
        """Return whether the connection is idle; a subclass knows."""
        return False

    def dismiss(self) -> None:
        """Close the idle connection in favour of a new one."""
        self._outer.close()
