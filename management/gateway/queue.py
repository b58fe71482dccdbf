"""The requests that wait for one model: which is served next, which is rejected, and when to try again."""

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
from management.gateway.balancing import ReplicaLoad
from management.gateway.priority import Priority, QueuePosition

RATE_WEIGHT: Final = 0.1
"""Weight of the newest measurement in the smoothed time between two answers."""
PROBE_PAUSE_SECONDS: Final = 1.0
"""Seconds a replica receives no requests after its connection broke; the prober decides after that."""
BYTE_SHARES: Final = {Priority.HIGH: 1.0, Priority.NORMAL: 0.75, Priority.LOW: 0.5}
"""Share of the queue's byte budget that requests of each priority may fill; the rest is kept for more urgent ones."""
EJECT_AFTER_FAILURES: Final = 3
"""Failures in a row after which a replica is ejected."""
LONGEST_EJECTION_SECONDS: Final = 30.0
"""Longest time in seconds for which a replica is ejected."""
MAX_CANCELLED: Final = 64
"""Cancelled requests that may stay in the heap beyond as many as twice those that wait."""


@dataclass
class ReplicaSlot:
    """A ready replica, and how many requests are in flight to it."""

    replica_id: str
    in_flight: int = 0
    failures: int = 0
    """Failures in a row."""
    last: int = -1
    """The number of its last request: of equals the one that was idle longest is next."""


@dataclass(order=True)
class _Waiting:
    position: QueuePosition
    size: int = field(compare=False)
    priority: Priority = field(compare=False)
    avoid: Collection[str] = field(compare=False)
    never: Collection[str] = field(compare=False)
    slot: asyncio.Future[ReplicaSlot] = field(compare=False)
    counted: bool = field(compare=False, default=False)
    """Whether it counts as waiting."""


class QueueOverflow(Exception):
    """Too many requests wait already."""


class QueueClosed(Exception):
    """The queue serves no requests any more."""


@dataclass(frozen=True)
class QueueLimits:
    """The limits of a queue."""

    concurrency: int
    """Requests at a time for each replica."""
    size: int
    """Requests that may wait. Only those of equal or higher priority count against it."""
    most_bytes: int
    """Bytes of all requests that wait."""
    ageing: float
    """Seconds of waiting that are worth a step of priority."""
    workers: int = 1
    """Workers of the server, each of which has a queue for the model."""


class RequestQueue:
    """The queue before the replicas of one model in this process."""

    def __init__(self, limits: QueueLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._concurrency = limits.concurrency
        self._slots: dict[str, ReplicaSlot] = {}
        self._ejected_until: dict[str, float] = {}
        self._heap: list[_Waiting] = []
        self._waiting = dict.fromkeys(Priority, 0)
        self._bytes = 0
        self._closed = False
        self._numbers = count()
        self._last_answer: float | None = None
        self._interval: float | None = None

    @property
    def replica_ids(self) -> set[str]:
        """The replicas that requests are sent to."""
        return set(self._slots)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(self._waiting.values())

    @property
    def in_flight(self) -> int:
        """Requests that the replicas are working on."""
        return sum(slot.in_flight for slot in self._slots.values())

    @property
    def slots(self) -> int:
        """Requests that the replicas may work on at a time."""
        return len(self._slots) * self._concurrency

    def set_concurrency(self, requests: int | None) -> None:
        """Sends so many requests to a replica at a time from now on; None for the limits' own number.

        The number is that of all workers together; each takes its share, and one at least.
        """
        share = None if requests is None else max(1, requests // self._limits.workers)
        self._concurrency = share or self._limits.concurrency
        self._serve()

    def set_replicas(self, replica_ids: set[str]) -> None:
        """Sends requests to these replicas from now on. What is in flight to others goes on."""
        for gone in self._slots.keys() - replica_ids:
            del self._slots[gone]
            self._ejected_until.pop(gone, None)
        for replica_id in replica_ids - self._slots.keys():
            self._slots[replica_id] = ReplicaSlot(replica_id)
        self._serve()

    async def acquire(
        self, priority: Priority, *, size: int = 0, avoid: Collection[str] = (), never: Collection[str] = ()
    ) -> ReplicaSlot:
        """A slot of a replica, at once or when it is this request's turn; ``release`` gives it back.

        ``size`` is the request's bytes. Replicas to ``avoid`` are taken only where there is no other, those of
        ``never`` are not taken. Cancelling it ends the wait. Raises QueueOverflow and QueueClosed.
        """
        if self._closed:
            raise QueueClosed
        if not self.waiting and (slot := self._free_slot(avoid, never)) is not None:
            return self._occupy(slot)
        before = sum(number for other, number in self._waiting.items() if other <= priority)
        if before >= self._limits.size or self._bytes + size > self._limits.most_bytes * BYTE_SHARES[priority]:
            raise QueueOverflow
        position = QueuePosition.of_request(self._clock(), priority, next(self._numbers), ageing=self._limits.ageing)
        waiting = _Waiting(position, size, priority, avoid, never, asyncio.get_running_loop().create_future())
        self._enqueue(waiting)
        try:
            return await waiting.slot
        except asyncio.CancelledError:
            self._cancel(waiting)
            raise

    def eject(self, replica_id: str) -> None:
        """Avoids a replica for a moment after its connection broke: a dead replica would look idle.

        It still gets requests that no other replica can take.
        """
        if replica_id in self._slots:
            self._ejected_until[replica_id] = max(
                self._ejected_until.get(replica_id, 0.0), self._clock() + PROBE_PAUSE_SECONDS
            )

    def record_failure(self, replica_id: str) -> bool:
        """Counts a failure. After some in a row the replica is ejected, for longer each time.

        True when an ejection begins. One answer resets the count. Failures during an ejection do not count: the
        replica then gets only requests that no other one can take.
        """
        slot = self._slots.get(replica_id)
        if slot is None or self._ejected_until.get(replica_id, 0.0) > self._clock():
            return False
        slot.failures += 1
        beyond = slot.failures - EJECT_AFTER_FAILURES + 1
        if beyond < 1:
            return False
        self._ejected_until[replica_id] = self._clock() + backoff(beyond, PROBE_PAUSE_SECONDS, LONGEST_EJECTION_SECONDS)
        return True

    def close(self) -> None:
        """Rejects all requests that wait, and all that come later."""
        self._closed = True
        self.reject_all()

    def reject_all(self) -> None:
        """Rejects all requests that wait, with QueueClosed."""
        for waiting in self._heap:
            self._stop_counting(waiting)
            if not waiting.slot.done():
                waiting.slot.set_exception(QueueClosed())
        self._heap.clear()

    def release(self, slot: ReplicaSlot, *, answered: bool) -> None:
        """Gives the slot to the next request."""
        slot.in_flight -= 1
        if answered:
            slot.failures = 0
            self._ejected_until.pop(slot.replica_id, None)
            self._measure_interval()
        self._serve()
        if not self.waiting and not any(slot.in_flight for slot in self._slots.values()):
            self._last_answer = None  # idle time says nothing of the rate

    def retry_after(self) -> int:
        """Seconds until a slot is likely free."""
        return balancing.retry_after(self.waiting, 1 / self._interval if self._interval else 0.0)

    def _free_slot(self, avoid: Collection[str], never: Collection[str]) -> ReplicaSlot | None:
        now = self._clock()
        ejected = {replica_id for replica_id, until in self._ejected_until.items() if until > now}
        slots = [slot for slot in self._slots.values() if slot.replica_id not in never]
        loads = [ReplicaLoad(slot.replica_id, slot.in_flight, slot.last) for slot in slots]
        chosen = balancing.pick(loads, self._concurrency, ejected | set(avoid))
        return None if chosen is None else self._slots[chosen]

    def _enqueue(self, waiting: _Waiting) -> None:
        if len(self._heap) > 2 * self.waiting + MAX_CANCELLED:  # most of them were cancelled
            self._heap = [other for other in self._heap if not other.slot.done()]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, waiting)
        waiting.counted = True
        self._waiting[waiting.priority] += 1
        self._bytes += waiting.size
        self._serve()

    def _serve(self) -> None:
        passed: list[_Waiting] = []  # requests that may take none of the free replicas
        while self._heap:
            first = self._heap[0]
            if first.slot.done():  # it was cancelled
                heapq.heappop(self._heap)
                continue
            slot = self._free_slot(first.avoid, first.never)
            if slot is None and not first.never:
                break
            heapq.heappop(self._heap)
            if slot is None:
                passed.append(first)
                continue
            self._stop_counting(first)
            first.slot.set_result(self._occupy(slot))
        for waiting in passed:
            heapq.heappush(self._heap, waiting)

    def _stop_counting(self, waiting: _Waiting) -> None:
        """Counts the request as waiting no longer; a second call does nothing."""
        if waiting.counted:
            waiting.counted = False
            self._waiting[waiting.priority] -= 1
            self._bytes -= waiting.size

    def _occupy(self, slot: ReplicaSlot) -> ReplicaSlot:
        slot.in_flight += 1
        slot.last = next(self._numbers)
        return slot

    def _cancel(self, waiting: _Waiting) -> None:
        if waiting.slot.cancelled() or not waiting.slot.done():
            waiting.slot.cancel()
            self._stop_counting(waiting)
        elif waiting.slot.exception() is None:
            self.release(waiting.slot.result(), answered=False)  # it got a slot in the same moment

    def _measure_interval(self) -> None:
        """Smooths the time between two answers."""
        now = self._clock()
        if self._last_answer is not None:
            since = max(1e-6, now - self._last_answer)
            before = since if self._interval is None else self._interval
            self._interval = before + RATE_WEIGHT * (since - before)
        self._last_answer = now
