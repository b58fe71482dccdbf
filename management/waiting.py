"""The requests that wait for one model: who is served next, who is turned away, and when to come again."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from management import routing
from management.routing import Load, Priority, Turn

RATE_WEIGHT: Final = 0.1
"""Of the newest measurement in the smoothed time between two answers."""


@dataclass
class Seat:
    """A ready replica, and what is in flight to it."""

    replica_id: str
    in_flight: int = 0


@dataclass(order=True)
class _Waiting:
    turn: Turn
    avoid: str | None = field(compare=False)
    place: asyncio.Future[Seat] = field(compare=False)


class QueueFullError(Exception):
    """Too many wait already."""


class Line:
    """The line before the replicas of one model in this process."""

    def __init__(
        self, *, concurrency: int, size: int, ageing: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._concurrency, self._size, self._ageing, self._clock = concurrency, size, ageing, clock
        self._seats: dict[str, Seat] = {}
        self._heap: list[_Waiting] = []
        self._waiting = 0
        self._numbers = count()
        self._last_answer: float | None = None
        self._interval: float | None = None

    @property
    def replica_ids(self) -> set[str]:
        """Those that requests are sent to."""
        return set(self._seats)

    def seat(self, replica_ids: set[str]) -> None:
        """Requests go to these replicas from now on; what is in flight to others goes on."""
        for gone in self._seats.keys() - replica_ids:
            del self._seats[gone]
        for replica_id in replica_ids - self._seats.keys():
            self._seats[replica_id] = Seat(replica_id)
        self._serve()

    async def take(self, priority: Priority, *, avoid: str | None = None) -> Seat:
        """A place at a replica, at once or when the turn comes; ``leave`` gives it back.

        Cancelled, it gives up the wait. Raises QueueFullError.
        """
        if not self._waiting and (seat := self._free(avoid)) is not None:
            seat.in_flight += 1
            return seat
        if self._waiting >= self._size:
            raise QueueFullError
        turn = routing.turn(self._clock(), priority, next(self._numbers), ageing=self._ageing)
        waiting = _Waiting(turn, avoid, asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, waiting)
        self._waiting += 1
        self._serve()
        try:
            return await waiting.place
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise

    def leave(self, seat: Seat, *, answered: bool) -> None:
        """Gives the place to the next one."""
        seat.in_flight -= 1
        if answered:
            self._measure()
        self._serve()

    def retry_after(self) -> int:
        """Seconds until a place is likely free."""
        return routing.retry_after(self._waiting, 1 / self._interval if self._interval else 0.0)

    def _free(self, avoid: str | None) -> Seat | None:
        chosen = routing.pick(
            [Load(one.replica_id, one.in_flight) for one in self._seats.values()], self._concurrency, avoid
        )
        return None if chosen is None else self._seats[chosen]

    def _serve(self) -> None:
        while self._heap:
            first = self._heap[0]
            if first.place.done():  # its caller left
                heapq.heappop(self._heap)
                continue
            seat = self._free(first.avoid)
            if seat is None:
                return
            heapq.heappop(self._heap)
            self._waiting -= 1
            seat.in_flight += 1
            first.place.set_result(seat)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting.place.done() and not waiting.place.cancelled():
            self.leave(waiting.place.result(), answered=False)  # its turn came in the same moment
        else:
            waiting.place.cancel()
            self._waiting -= 1

    def _measure(self) -> None:
        """The time between two answers, smoothed."""
        at = self._clock()
        if self._last_answer is not None:
            since = max(1e-6, at - self._last_answer)
            before = since if self._interval is None else self._interval
            self._interval = before + RATE_WEIGHT * (since - before)
        self._last_answer = at
