"""The requests that wait for one model: who is served next, who is turned away, and when to come again."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from management.domain.backoff import backoff
from management.gateway import balancing
from management.gateway.balancing import Priority, QueuePosition, ReplicaLoad

RATE_WEIGHT: Final = 0.1
"""Of the newest measurement in the smoothed time between two answers."""
PROBE_PAUSE_SECONDS: Final = 1.0
"""That a replica rests whose connection broke: until the supervisor has looked at it."""
BYTE_SHARES: Final = {Priority.HIGH: 1.0, Priority.NORMAL: 0.75, Priority.LOW: 0.5}
"""Of all bytes that may wait, how many may when a request of that priority comes; the others are more urgent ones'."""
EJECT_AFTER_FAILURES: Final = 3
"""In a row, after which a replica rests."""
LONGEST_EJECTION_SECONDS: Final = 30.0
"""Seconds."""
MOST_LEFT: Final = 64
"""Requests whose callers left that may stay in the heap beside as many as wait."""


@dataclass
class ReplicaSlot:
    """A ready replica, and what is in flight to it."""

    replica_id: str
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    last: int = -1
    """The number of its last request: of equals the one that rested longest is next."""


@dataclass(order=True)
class _Waiting:
    turn: QueuePosition
    size: int = field(compare=False)
    priority: Priority = field(compare=False)
    avoid: Collection[str] = field(compare=False)
    never: Collection[str] = field(compare=False)
    place: asyncio.Future[ReplicaSlot] = field(compare=False)
    counts: bool = field(compare=False, default=False)
    """Whether it is among those that wait."""


class QueueOverflow(Exception):
    """Too many wait already."""


class QueueClosed(Exception):
    """Nothing is served in this line any more."""


@dataclass(frozen=True)
class QueueLimits:
    """How a line is kept."""

    concurrency: int
    """Requests at a time for each replica."""
    size: int
    """Requests that may wait; of whoever comes, those that are at least as urgent count."""
    most_bytes: int
    """Bytes of all requests that wait."""
    ageing: float
    """Seconds of waiting that are worth a step of priority."""


class RequestQueue:
    """The line before the replicas of one model in this process."""

    def __init__(self, rules: QueueLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._clock = rules, clock
        self._seats: dict[str, ReplicaSlot] = {}
        self._resting: dict[str, float] = {}
        self._heap: list[_Waiting] = []
        self._waiting = dict.fromkeys(Priority, 0)
        self._bytes = 0
        self._closed = False
        self._numbers = count()
        self._last_answer: float | None = None
        self._interval: float | None = None

    @property
    def replica_ids(self) -> set[str]:
        """Those that requests are sent to."""
        return set(self._seats)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(self._waiting.values())

    @property
    def in_flight(self) -> int:
        """Requests that the replicas are working on."""
        return sum(one.in_flight for one in self._seats.values())

    @property
    def slots(self) -> int:
        """Requests that the replicas may work on."""
        return len(self._seats) * self._rules.concurrency

    def set_replicas(self, replica_ids: set[str]) -> None:
        """Requests go to these replicas from now on; what is in flight to others goes on."""
        for gone in self._seats.keys() - replica_ids:
            del self._seats[gone]
            self._resting.pop(gone, None)
        for replica_id in replica_ids - self._seats.keys():
            self._seats[replica_id] = ReplicaSlot(replica_id)
        self._serve()

    async def acquire(
        self, priority: Priority, *, size: int = 0, avoid: Collection[str] = (), never: Collection[str] = ()
    ) -> ReplicaSlot:
        """A place at a replica, at once or when the turn comes; ``leave`` gives it back.

        ``size`` is the request's bytes; replicas to ``avoid`` are taken where there is no other, those of ``never`` are
        not. Cancelled, it gives up the wait. Raises QueueFullError, LineClosedError.
        """
        if self._closed:
            raise QueueClosed
        if not self.waiting and (seat := self._free(avoid, never)) is not None:
            return self._sit(seat)
        before = sum(number for other, number in self._waiting.items() if other <= priority)
        if before >= self._rules.size or self._bytes + size > self._rules.most_bytes * BYTE_SHARES[priority]:
            raise QueueOverflow
        turn = balancing.position(self._clock(), priority, next(self._numbers), ageing=self._rules.ageing)
        waiting = _Waiting(turn, size, priority, avoid, never, asyncio.get_running_loop().create_future())
        self._join(waiting)
        try:
            return await waiting.place
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise

    def eject(self, replica_id: str) -> None:
        """Its connection broke: for a moment it gets nothing that another one can take. It looks idle, being dead."""
        if replica_id in self._seats:
            self._resting[replica_id] = max(self._resting.get(replica_id, 0.0), self._clock() + PROBE_PAUSE_SECONDS)

    def record_failure(self, replica_id: str) -> bool:
        """It failed. After some failures in a row it gets nothing, for longer each time, that another one can take.

        True when that begins. An answer makes good for all of them; what fails while it rests, for want of others,
        does not count.
        """
        seat = self._seats.get(replica_id)
        if seat is None or self._resting.get(replica_id, 0.0) > self._clock():
            return False
        seat.failures += 1
        beyond = seat.failures - EJECT_AFTER_FAILURES + 1
        if beyond < 1:
            return False
        self._resting[replica_id] = self._clock() + backoff(beyond, PROBE_PAUSE_SECONDS, LONGEST_EJECTION_SECONDS)
        return True

    def close(self) -> None:
        """Nobody is served any more, whoever waits or comes."""
        self._closed = True
        self.reject_all()

    def reject_all(self) -> None:
        """Whoever waits is told that it is in vain."""
        for waiting in self._heap:
            self._uncounted(waiting)
            if not waiting.place.done():
                waiting.place.set_exception(QueueClosed())
        self._heap.clear()

    def release(self, seat: ReplicaSlot, *, answered: bool) -> None:
        """Gives the place to the next one."""
        seat.in_flight -= 1
        if answered:
            seat.failures = 0
            self._resting.pop(seat.replica_id, None)
            self._measure()
        self._serve()
        if not self.waiting and not any(one.in_flight for one in self._seats.values()):
            self._last_answer = None  # idle time says nothing of the rate

    def retry_after(self) -> int:
        """Seconds until a place is likely free."""
        return balancing.retry_after(self.waiting, 1 / self._interval if self._interval else 0.0)

    def _free(self, avoid: Collection[str], never: Collection[str]) -> ReplicaSlot | None:
        at = self._clock()
        resting = {one for one, until in self._resting.items() if until > at}
        seats = [one for one in self._seats.values() if one.replica_id not in never]
        loads = [ReplicaLoad(one.replica_id, one.in_flight, one.last) for one in seats]
        chosen = balancing.pick(loads, self._rules.concurrency, resting | set(avoid))
        return None if chosen is None else self._seats[chosen]

    def _join(self, waiting: _Waiting) -> None:
        if len(self._heap) > 2 * self.waiting + MOST_LEFT:  # most of them left
            self._heap = [one for one in self._heap if not one.place.done()]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, waiting)
        waiting.counts = True
        self._waiting[waiting.priority] += 1
        self._bytes += waiting.size
        self._serve()

    def _serve(self) -> None:
        passed: list[_Waiting] = []  # who will have none of the replicas that are free
        while self._heap:
            first = self._heap[0]
            if first.place.done():  # its caller left
                heapq.heappop(self._heap)
                continue
            seat = self._free(first.avoid, first.never)
            if seat is None and not first.never:
                break
            heapq.heappop(self._heap)
            if seat is None:
                passed.append(first)
                continue
            self._uncounted(first)
            first.place.set_result(self._sit(seat))
        for one in passed:
            heapq.heappush(self._heap, one)

    def _uncounted(self, waiting: _Waiting) -> None:
        """It waits no longer, whoever sees it first."""
        if waiting.counts:
            waiting.counts = False
            self._waiting[waiting.priority] -= 1
            self._bytes -= waiting.size

    def _sit(self, seat: ReplicaSlot) -> ReplicaSlot:
        seat.in_flight += 1
        seat.last = next(self._numbers)
        return seat

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting.place.cancelled() or not waiting.place.done():
            waiting.place.cancel()
            self._uncounted(waiting)
        elif waiting.place.exception() is None:
            self.release(waiting.place.result(), answered=False)  # its turn came in the same moment

    def _measure(self) -> None:
        """The time between two answers, smoothed."""
        at = self._clock()
        if self._last_answer is not None:
            since = max(1e-6, at - self._last_answer)
            before = since if self._interval is None else self._interval
            self._interval = before + RATE_WEIGHT * (since - before)
        self._last_answer = at
