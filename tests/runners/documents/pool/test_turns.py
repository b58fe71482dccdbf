"""Which document is read next: callers share the seats, and a newcomer never waits for many heavy documents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from runners.documents.pool.job import ReadJob
from runners.documents.pool.turns import GROWTH, MAX_WAITING, MAX_WAITING_BYTES, QUICK_SECONDS, TURN_SECONDS, Turns
from runners.errors import ModelUnavailable


class Timed(ReadJob):
    """A document that has burnt what it is told to have burnt."""

    def __init__(self, caller: str = "a", size: int = 1) -> None:
        super().__init__(bytes(1), "", caller=caller)
        self.size, self.burnt = size, 0.0

    def seconds(self) -> float:
        return self.burnt


def waiting(turns: Turns, *jobs: Timed) -> None:
    for job in jobs:
        turns.add(job)


def made(callers: str) -> list[Timed]:
    return [Timed(caller) for caller in callers]


def test_the_caller_of_whom_least_is_read_comes_first() -> None:
    turns, jobs = Turns(), made("aaaab")
    waiting(turns, *jobs)
    assert [turns.take() for _ in range(3)] == [jobs[0], jobs[4], jobs[1]]


def test_callers_take_turns() -> None:
    turns, jobs = Turns(), made("aaabbb")
    waiting(turns, *jobs)
    order = []
    for _ in jobs:
        job = turns.take()
        assert job is not None
        order.append(job.caller)
        turns.leave(job)
    assert "".join(order) == "ababab"


def test_the_quick_seat_takes_the_newest_and_a_general_one_the_oldest() -> None:
    turns, jobs = Turns(), made("aaaa")
    waiting(turns, *jobs)
    assert turns.take() is jobs[0]
    assert turns.take(quick=True) is jobs[3]
    assert turns.take() is jobs[1]


def test_the_quick_seat_leaves_a_document_to_a_general_seat_that_is_idle() -> None:
    turns, job = Turns(), Timed()
    with ThreadPoolExecutor(2) as threads:
        quick, general = threads.submit(turns.take, quick=True), threads.submit(turns.take)
        while not turns._idle_general_seats:
            pass
        turns.add(job)
        assert general.result(10) is job
        turns.close()
        assert quick.result(10) is None


def test_a_heavy_document_leaves_the_quick_seat_for_a_newer_one_and_comes_back_once() -> None:
    turns, (heavy, newer) = Turns(), made("aa")
    turns.add(heavy)
    assert turns.take(quick=True) is heavy
    heavy.burnt = QUICK_SECONDS * 100
    assert turns.overdue() == []  # nothing else would be read
    turns.add(newer)
    assert turns.overdue() == [heavy]
    turns.leave(heavy, again=True)
    assert turns.take(quick=True) is newer
    turns.leave(newer)
    assert turns.take(quick=True) is heavy
    turns.leave(heavy, again=True)
    turns.add(last := Timed())
    assert turns.take(quick=True) is last
    assert turns.take() is heavy


def test_a_document_is_read_to_its_end_while_only_its_own_caller_waits() -> None:
    turns, jobs = Turns(), made("aa")
    waiting(turns, *jobs)
    assert turns.take() is jobs[0]
    jobs[0].burnt = TURN_SECONDS * 100
    assert turns.overdue() == []


def test_a_long_document_gives_its_seat_to_another_caller_and_has_a_longer_turn_then() -> None:
    turns, (long, other) = Turns(), made("ab")
    turns.add(long)
    assert turns.take() is long
    turns.add(other)
    long.burnt = TURN_SECONDS * 0.9
    assert turns.overdue() == []
    long.burnt = TURN_SECONDS * 1.1
    assert turns.overdue() == [long]
    turns.leave(long, again=True)
    assert turns.take() is other
    turns.leave(other)
    assert turns.take() is long
    turns.add(Timed("b"))
    assert turns.overdue() == []
    long.burnt = TURN_SECONDS * GROWTH * 1.1
    assert turns.overdue() == [long]


def test_a_full_queue_refuses_the_caller_who_filled_it_and_makes_room_for_others() -> None:
    turns, jobs = Turns(), made("a" * MAX_WAITING)
    waiting(turns, *jobs)
    with pytest.raises(ModelUnavailable, match="too many"):
        turns.add(Timed("a"))
    turns.add(other := Timed("b"))
    assert isinstance(jobs[-1].answer.exception(0), ModelUnavailable)
    assert turns.take(quick=True) in (other, jobs[-2])


def test_a_full_queue_makes_room_for_a_newcomer_at_the_cost_of_what_was_tried() -> None:
    turns, jobs = Turns(), made("a" * MAX_WAITING)
    waiting(turns, *jobs)
    assert turns.take() is jobs[0]
    turns.leave(jobs[0], again=True)
    turns.add(Timed("a"))
    assert isinstance(jobs[0].answer.exception(0), ModelUnavailable)


def test_the_bytes_of_waiting_documents_have_a_bound() -> None:
    turns = Turns()
    waiting(turns, Timed(size=MAX_WAITING_BYTES // 2), Timed(size=MAX_WAITING_BYTES // 2))
    with pytest.raises(ModelUnavailable, match="too many"):
        turns.add(Timed(size=1))


def test_a_caller_who_leaves_makes_room() -> None:
    turns, jobs = Turns(), made("a" * MAX_WAITING)
    waiting(turns, *jobs)
    jobs[5].stop()
    turns.add(Timed("a"))
    assert not turns.is_empty()
