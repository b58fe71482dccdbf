"""Which document is read next? Places are shared among callers first, and among one caller's documents by age.

There are general seats, and one quick seat that saves a short document from all others, whoever sent them:

- The caller with the fewest documents being read comes first; among equals, the one who was served longest ago.
- A general seat takes the caller's oldest document. It gives it back after a turn, to be read anew later and for a
  longer turn, when a caller of whom nothing is being read waits.
- The quick seat takes the caller's newest document when no general seat is free. It gives it back after
  ``QUICK_SECONDS`` for a newer one, and after its turn for any other. It takes none more than twice.

So a newcomer waits for ``QUICK_SECONDS`` at most, however many heavy documents came before from the same address. A
document that is given back has lost its work: seconds on the quick seat, and a third of all where turns grow fourfold.

When too many wait, the caller with the most of them loses one that was tried, else its newest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from threading import Condition
from typing import Final

from runners.documents.pool.job import ReadJob
from runners.errors import ModelUnavailable

MAX_WAITING: Final = 64
"""Documents that may wait for a seat, besides those that are being read."""
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
"""Bytes that waiting documents may have together."""
QUICK_SECONDS: Final = 1.5
"""Seconds of computing in which the quick seat reads a page of any kind, the loading of OCR among them."""
QUICK_TRIES: Final = 2
"""How often the quick seat tries a document."""
TURN_SECONDS: Final = 10.0
"""Seconds of computing that a document has a general seat for, at its first try, while other callers have none."""
GROWTH: Final = 4
"""How many times longer each turn is than the one before."""

CLOSED: Final = "documents are no longer read here"
TOO_MANY: Final = "too many documents are being read; try again"


class Turns:
    """The documents that wait and those that are being read; every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[ReadJob] = []  # from the oldest to the newest
        self._read: dict[ReadJob, bool] = {}  # and whether it has the quick seat
        self._served: dict[str, int] = {}  # the number of the turn that a caller had last
        self._turn = 0
        self._idle_general_seats = 0
        self._is_closed = False

    def add(self, job: ReadJob) -> None:
        """Lets it wait. Raises ModelUnavailable when it may not, or these are closed."""
        with self._changed:
            if self._is_closed:
                raise ModelUnavailable(CLOSED)
            while self._is_full(job):
                self._refuse_another(job)
            self._waiting.append(job)
            self._changed.notify_all()
        job.answer.add_done_callback(lambda _: self._forget(job))

    def take(self, *, quick: bool = False) -> ReadJob | None:
        """The next document for a seat, when there is one; None when these are closed."""
        with self._changed:
            self._idle_general_seats += not quick
            self._changed.wait_for(lambda: self._is_closed or self._has_one(quick))
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
        """The seat is free; ``again`` where the document was given back, and is as old as it was."""
        with self._changed:
            del self._read[job]
            if again and not job.answer.done():
                job.tries += 1
                older = sum(one.age < job.age for one in self._waiting)
                self._waiting.insert(older, job)
            self._forget_callers()
            self._changed.notify_all()

    def overdue(self) -> list[ReadJob]:
        """Documents that are to be given back now."""
        with self._changed:
            quick = [job for job, is_quick in self._read.items() if is_quick]
            return [*filter(self._hinders, quick), *self._held_too_long()]

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        with self._changed:
            return not self._waiting

    def wait_until_contended(self) -> bool:
        """Returns when something waits while something is read; False when these are closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or (self._waiting and self._read))
            return not self._is_closed

    def close(self) -> list[ReadJob]:
        """Nothing is taken any more; what waited and what is read are told."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            return [*self._waiting, *self._read]

    def _has_one(self, quick: bool) -> bool:
        return bool(self._fitting(quick)) and not (quick and self._idle_general_seats)

    def _fitting(self, quick: bool) -> list[ReadJob]:
        return [job for job in self._waiting if not quick or job.tries < QUICK_TRIES]

    def _next(self, quick: bool) -> ReadJob:
        fitting = self._fitting(quick)
        due = self._due({job.caller for job in fitting})
        return [job for job in fitting if job.caller == due][-1 if quick else 0]

    def _hinders(self, job: ReadJob) -> bool:
        """Whether the document on the quick seat has had its share, and another waits for it."""
        turns = job.seconds() / QUICK_SECONDS
        others = self._fitting(quick=True)
        return (turns > GROWTH**job.tries and bool(others)) or (turns > 1 and any(job.age < one.age for one in others))

    def _due(self, callers: set[str]) -> str:
        read = Counter(job.caller for job in self._read)
        return min(callers, key=lambda one: (read[one], self._served.get(one, 0), one))

    def _held_too_long(self) -> Iterator[ReadJob]:
        """The one that has burnt most of its turn, where another caller waits of whom nothing is read."""
        callers = {job.caller for job in self._read}
        general = [job for job, is_quick in self._read.items() if not is_quick]
        if general and any(job.caller not in callers for job in self._waiting):
            job = max(general, key=_spent)
            if _spent(job) > 1:
                yield job

    def _is_full(self, job: ReadJob) -> bool:
        size = job.size + sum(one.size for one in self._waiting)
        return len(self._waiting) >= MAX_WAITING or (bool(self._waiting) and size > MAX_WAITING_BYTES)

    def _refuse_another(self, newcomer: ReadJob) -> None:
        """Makes room. Raises ModelUnavailable where no other has less of a right to wait."""
        counts = Counter(job.caller for job in self._waiting)
        greediest = max(counts.values())
        theirs = [job for job in self._waiting if counts[job.caller] == greediest]
        tried = [job for job in theirs if job.tries]
        if not tried and counts[newcomer.caller] + 1 >= greediest:
            raise ModelUnavailable(TOO_MANY)
        refused = (tried or theirs)[-1]
        self._waiting.remove(refused)
        refused.fail(ModelUnavailable(TOO_MANY))

    def _forget(self, job: ReadJob) -> None:
        """An answer is there: of one that waited, its caller has left."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self._forget_callers()

    def _forget_callers(self) -> None:
        """Keeps no list of everybody who ever came."""
        present = {job.caller for job in (*self._waiting, *self._read)}
        self._served = {name: turn for name, turn in self._served.items() if name in present}


def _spent(job: ReadJob) -> float:
    """The share of its turn that a document has burnt."""
    return job.seconds() / float(TURN_SECONDS * GROWTH**job.tries)
