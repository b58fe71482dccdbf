"""A call that a replica is answering: its slot is held until the caller closes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from management.gateway.failover import HeldSlot
from management.gateway.replica_answer import RawHeaders, ReplicaAnswer, ReplicaSocket
from management.gateway.replica_errors import ConnectionBroken, ReplicaError, ReplicaSilent

FAILURES: Final = frozenset({500, 502, 504})
"""Statuses that count as a failure of the replica; 503 says that it is busy."""


class OpenAnswer:
    """An answer whose headers have come."""

    def __init__(self, slot: HeldSlot, answer: ReplicaAnswer) -> None:
        self._slot, self._answer = slot, answer
        self._complete = self._broken = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> RawHeaders:
        """The headers."""
        return self._answer.headers

    @property
    def revision(self) -> int:
        """The number of the revision that answers."""
        return 0 if self._slot.client is None else self._slot.client.revision

    @property
    def queued(self) -> float:
        """Seconds for which the call waited for its slot."""
        return self._slot.queued

    async def pieces(self, gap: float) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ReplicaError: the connection broke, or nothing came for ``gap`` seconds."""
        try:
            async for piece in self._answer.pieces(gap):
                yield piece
            self._complete = True
        except ReplicaError as error:
            self._broken = True
            if isinstance(error, ConnectionBroken):
                self._slot.record_break(str(error))
            elif isinstance(error, ReplicaSilent):
                self._slot.record_failure(str(error))
            raise

    @property
    def failed(self) -> bool:
        """Whether the model failed: by its status, or in the middle of its answer."""
        return self._broken or self.status in FAILURES

    def close(self) -> None:
        """End the call, and free its slot."""
        self._answer.close()
        if self.failed and not self._broken:
            self._slot.record_failure(f"status {self.status}")
        self._slot.release(answered=self._complete and not self.failed)


class OpenSocket:
    """A websocket that a replica has accepted."""

    def __init__(self, slot: HeldSlot, socket: ReplicaSocket) -> None:
        self._slot = slot
        self.socket = socket
        """The websocket itself."""
        self.failed = False
        """Whether it broke."""

    @property
    def revision(self) -> int:
        """The number of the revision that answers."""
        return 0 if self._slot.client is None else self._slot.client.revision

    @property
    def queued(self) -> float:
        """Seconds for which the call waited for its slot."""
        return self._slot.queued

    def record_break(self, reason: str) -> None:
        """Count that the connection to the replica broke."""
        self.failed = True
        self._slot.record_break(reason)

    async def close(self) -> None:
        """End the call, and free its slot."""
        try:
            await self.socket.close()
        finally:
            self._slot.release(answered=not self.failed)
