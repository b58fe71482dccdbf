"""How many connections a process has at a time: bounded in all, and for each address, before descriptors run out.

Who only waits makes room for who comes. Who cannot be let in is told so, instead of being left without an answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from web import addresses
from web.error_shape import OVERLOADED

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MOST: Final = 8192
"""Connections, where descriptors would allow more."""
LEAST: Final = 16
KEPT: Final = 512
"""Descriptors, at most a quarter of all, for replicas, the database, logs and libraries."""
DESCRIPTORS: Final = 2
"""Of a connection: its own, and that of the call to a model which answers it."""


def _answer() -> bytes:
    body = OVERLOADED.body()
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in OVERLOADED.headers)
    described = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + headers + described + b"\r\n" + body


TURNED_AWAY: Final = _answer()


def raise_descriptors() -> None:
    """Takes as many descriptors as ``MOST`` connections need, where the system's hard limit lets this process."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS * MOST + KEPT
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bound() -> int:
    """Connections that this process's limit of descriptors allows."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource is not None else -1
    if soft < 0:  # no limit
        return MOST
    return min(MOST, max(LEAST, (soft - min(KEPT, soft // 4)) // DESCRIPTORS))


@dataclass
class Crowd:
    """The connections that there are, the oldest first."""

    most: int
    per_address: int
    members: dict[Admission, str] = field(default_factory=dict)
    addresses: Counter[str] = field(default_factory=Counter)

    def admits(self, address: str) -> bool:
        """Whether there is room for one more, or one that only waits has made some."""
        if self.addresses[address] >= self.per_address and not self._make_room(address):
            return False
        return len(self.members) < self.most or self._make_room(None)

    def enter(self, one: Admission, address: str) -> None:
        """One more."""
        self.members[one] = address
        self.addresses[address] += 1

    def leave(self, one: Admission) -> None:
        """One less, if it was let in."""
        address = self.members.pop(one, None)
        if address is None:
            return
        self.addresses[address] -= 1
        if not self.addresses[address]:
            del self.addresses[address]

    def _make_room(self, address: str | None) -> bool:
        found = next((one for one, of in self.members.items() if address in (None, of) and one.waits()), None)
        if found is None:
            return False
        self.leave(found)
        found.dismiss()
        return True


class Admission(asyncio.Protocol):
    """Stands before all other classes: a connection that is not let in reaches none of them."""

    crowd: ClassVar[Crowd | None] = None
    _let_in = True
    _outer: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets it in, or says that there is no room."""
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
        """Makes room."""
        if self.crowd is not None:
            self.crowd.leave(self)
        if self._let_in:
            super().connection_lost(exc)

    def handle_websocket_upgrade(self, *event: Any) -> None:
        """Lets go of a connection that another class of uvicorn takes over, which ends it: nobody serves websockets."""
        if self.crowd is not None:
            self.crowd.leave(self)
        super().handle_websocket_upgrade(*event)  # type: ignore[misc]

    def turn_away(self, transport: Any) -> None:
        """Answers without a question, and closes."""
        transport.write(TURNED_AWAY)
        transport.close()

    def waits(self) -> bool:
        """Whether no request is in work on it."""
        return False

    def dismiss(self) -> None:
        """Closes it for another one."""
        self._outer.close()
