"""Which document is read next? Seats are shared among callers first, and among one caller's documents by age.

There are general seats, and one quick seat so that a short document does not wait for long ones:

- The caller with the fewest documents being read comes first; among equals, the one served longest ago.
- A general seat takes the caller's oldest document. It gives it back after a turn when a caller waits of whom nothing
  is being read; the document is read again later, with a longer turn.
- The quick seat takes the caller's newest document when no general seat is free. It gives it back after
  ``QUICK_SECONDS`` for a newer one, and after its turn for any other. It tries each document at most twice.

So a new document waits ``QUICK_SECONDS`` at most, however many heavy ones the same address has sent before. A document
that is given back loses its work: seconds on the quick seat, and a third of all work where turns grow fourfold.

When too many wait, the caller with the most waiting documents loses one that was tried, else its newest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from threading import Condition
from typing import Final

from runners.documents.pool.job import ReadJob
from runners.errors import ModelUnavailable

MAX_WAITING: Final = 64
"""Documents that may wait for a seat, apart from those being read."""
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
"""Total bytes of waiting documents."""
QUICK_SECONDS: Final = 1.5
"""CPU seconds in which the quick seat reads any page, including the loading of OCR."""
QUICK_TRIES: Final = 2
"""Tries that a document gets on the quick seat."""
TURN_SECONDS: Final = 10.0
"""CPU seconds of a document's first turn on a general seat while another caller waits without a seat."""
GROWTH: Final = 4
"""Factor by which each turn is longer than the one before."""

CLOSED: Final = "documents are no longer read here"
TOO_MANY: Final = "too many documents are being read; try again"


class Turns:
    """The documents that wait and those that are being read; every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[ReadJob] = []  # oldest first
        self._read: dict[ReadJob, bool] = {}  # value: whether the document has the quick seat
        self._served: dict[str, int] = {}  # number of each caller's last turn
        self._turn = 0
        self._idle_general_seats = 0
        self._is_closed = False

    def add(self, job: ReadJob) -> None:
        """Queue a document. Raises ModelUnavailable when the queue is full or closed."""
        with self._changed:
            if self._is_closed:
                raise ModelUnavailable(CLOSED)
            while self._is_full(job):
                self._refuse_another(job)
            self._waiting.append(job)
            self._changed.notify_all()
        job.answer.add_done_callback(lambda _: self._forget(job))

    def take(self, *, quick: bool = False) -> ReadJob | None:
        """Wait for the next document for a seat and return it; None when closed."""
        with self._changed:
            self._idle_general_seats += not quick
            self._changed.wait_for(lambda: self._is_closed or self._has_next(quick))
            self._idle_general_seats -= not quick
            if self._is_closed:
                return None
            job = self._next(quick)
            self._waiting.remove(job)
            self._read[job] = quick
            self._turn += 1
            self._served[job.caller] = self._turn
            self._changed.notify_all()  # the quick seat waits until no general one is idle
            return job

    def leave(self, job: ReadJob, *, again: bool = False) -> None:
        """Free the document's seat; ``again`` queues it once more at its old age."""
        with self._changed:
            del self._read[job]
            if again and not job.answer.done():
                job.tries += 1
                older = sum(waiting.age < job.age for waiting in self._waiting)
                self._waiting.insert(older, job)
            self._forget_callers()
            self._changed.notify_all()

    def overdue(self) -> list[ReadJob]:
        """Return the documents that must give their seats back now."""
        with self._changed:
            quick = [job for job, is_quick in self._read.items() if is_quick]
            return [*filter(self._hinders, quick), *self._held_too_long()]

    def is_empty(self) -> bool:
        """Whether no document waits."""
        with self._changed:
            return not self._waiting

    def wait_until_contended(self) -> bool:
        """Wait until a document waits while another is read; return False when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or (self._waiting and self._read))
            return not self._is_closed

    def close(self) -> list[ReadJob]:
        """Close the queue, and return the documents that wait or are being read."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            return [*self._waiting, *self._read]

    def _has_next(self, quick: bool) -> bool:
        return bool(self._fitting(quick)) and not (quick and self._idle_general_seats)

    def _fitting(self, quick: bool) -> list[ReadJob]:
        return [job for job in self._waiting if not quick or job.tries < QUICK_TRIES]

    def _next(self, quick: bool) -> ReadJob:
        fitting = self._fitting(quick)
        due = self._due({job.caller for job in fitting})
        return [job for job in fitting if job.caller == due][-1 if quick else 0]

    def _hinders(self, job: ReadJob) -> bool:
        """Whether the document on the quick seat has used its turn while another waits for the seat."""
        turns = job.seconds() / QUICK_SECONDS
        fitting = self._fitting(quick=True)
        return (turns > GROWTH**job.tries and bool(fitting)) or (
            turns > 1 and any(job.age < rival.age for rival in fitting)
        )

    def _due(self, callers: set[str]) -> str:
        read = Counter(job.caller for job in self._read)
        return min(callers, key=lambda caller: (read[caller], self._served.get(caller, 0), caller))

    def _held_too_long(self) -> Iterator[ReadJob]:
        """Yield the document that has overrun its turn most, if a caller waits of whom nothing is being read."""
        callers = {job.caller for job in self._read}
        general = [job for job, is_quick in self._read.items() if not is_quick]
        if general and any(job.caller not in callers for job in self._waiting):
            job = max(general, key=_spent)
            if _spent(job) > 1:
                yield job

    def _is_full(self, job: ReadJob) -> bool:
        size = job.size + sum(waiting.size for waiting in self._waiting)
        return len(self._waiting) >= MAX_WAITING or (bool(self._waiting) and size > MAX_WAITING_BYTES)

    def _refuse_another(self, newcomer: ReadJob) -> None:
        """Refuse a waiting document to make room. Raises ModelUnavailable where the newcomer itself must be refused."""
        counts = Counter(job.caller for job in self._waiting)
        greediest = max(counts.values())
        candidates = [job for job in self._waiting if counts[job.caller] == greediest]
        tried = [job for job in candidates if job.tries]
        if not tried and counts[newcomer.caller] + 1 >= greediest:
            raise ModelUnavailable(TOO_MANY)
        refused = (tried or candidates)[-1]
        self._waiting.remove(refused)
        refused.fail(ModelUnavailable(TOO_MANY))

    def _forget(self, job: ReadJob) -> None:
        """Remove a finished document from the queue: it was cancelled if it still waited."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self._forget_callers()

    def _forget_callers(self) -> None:
        """Forget callers without documents, so that the table does not grow for ever."""
        present = {job.caller for job in (*self._waiting, *self._read)}
        self._served = {name: turn for name, turn in self._served.items() if name in present}


def _spent(job: ReadJob) -> float:
    """Return the share of its turn that a document has used."""
    return job.seconds() / float(TURN_SECONDS * GROWTH**job.tries)
