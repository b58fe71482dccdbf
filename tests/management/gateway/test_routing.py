"""Who is next, and where to: the order of turns, the choice of a replica, and the line that both make."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from management.gateway import balancing
from management.gateway import queue as waiting_module
from management.gateway.balancing import ReplicaLoad, pick, retry_after
from management.gateway.priority import Priority, QueuePosition
from management.gateway.queue import QueueClosed, QueueLimits, QueueOverflow, ReplicaSlot, RequestQueue

AGEING = 10.0
SECONDS = st.floats(0, 1000, allow_nan=False)


class HandClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def turn(arrived: float, priority: Priority, number: int = 0) -> QueuePosition:
    return QueuePosition.of_request(arrived, priority, number, ageing=AGEING)


def test_of_requests_of_the_same_moment_the_more_urgent_is_first() -> None:
    turns = [turn(5, priority) for priority in (Priority.LOW, Priority.HIGH, Priority.NORMAL)]
    assert sorted(turns) == [turns[1], turns[2], turns[0]]


def test_of_equals_the_first_to_come_is_first() -> None:
    assert turn(5, Priority.LOW, 1) < turn(5, Priority.LOW, 2)
    assert turn(1, Priority.NORMAL, 9) < turn(2, Priority.NORMAL, 3)


@given(low=SECONDS, later=st.lists(SECONDS, max_size=20))
def test_low_is_served_before_any_high_that_came_twice_the_ageing_later(low: float, later: list[float]) -> None:
    waiting = turn(low, Priority.LOW, 0)
    stream = [turn(low + 2 * AGEING + seconds, Priority.HIGH, number) for number, seconds in enumerate(later, 1)]
    assert min([waiting, *stream]) == waiting


@given(low=SECONDS, sooner=st.floats(0, 2 * AGEING - 1e-6))
def test_high_is_served_before_any_low_that_it_followed_sooner(low: float, sooner: float) -> None:
    assert turn(low + sooner, Priority.HIGH, 1) < turn(low, Priority.LOW, 2)


def test_the_replica_with_least_in_flight_is_picked_and_of_equals_the_first() -> None:
    assert pick([ReplicaLoad("a", 2), ReplicaLoad("b", 1), ReplicaLoad("c", 1)], 4) == "b"
    assert pick([ReplicaLoad("a", 4), ReplicaLoad("b", 4)], 4) is None
    assert pick([], 4) is None


def test_what_is_avoided_is_picked_only_when_there_is_no_other() -> None:
    assert pick([ReplicaLoad("a", 0), ReplicaLoad("b", 3)], 4, avoid={"a"}) == "b"
    assert pick([ReplicaLoad("a", 0), ReplicaLoad("b", 4)], 4, avoid={"a"}) == "a"


@pytest.mark.parametrize(
    ("waiting", "rate", "seconds"), [(0, 0.0, 5), (0, 100.0, 1), (9, 2.0, 5), (10, 2.0, 6), (10_000, 1.0, 60)]
)
def test_retry_after_is_what_waits_at_the_measured_rate(waiting: int, rate: float, seconds: int) -> None:
    assert retry_after(waiting, rate) == seconds


def line(
    concurrency: int = 1, size: int = 10, clock: HandClock | None = None, replicas: Iterable[str] = "a"
) -> RequestQueue:
    made = RequestQueue(QueueLimits(concurrency, size, most_bytes=1000, ageing=AGEING), clock or HandClock())
    made.set_replicas(set(replicas))
    return made


async def queued(
    made: RequestQueue, priority: Priority = Priority.NORMAL, avoid: Collection[str] = ()
) -> asyncio.Task[ReplicaSlot]:
    """A request that has asked for its place."""
    task = asyncio.create_task(made.acquire(priority, avoid=avoid))
    await asyncio.sleep(0)
    return task


async def turned() -> None:
    """Everybody who got a place has noticed."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_places_are_given_by_turn() -> None:
    clock = HandClock()
    made = line(clock=clock)
    seat = await made.acquire(Priority.NORMAL)
    low = await queued(made, Priority.LOW)
    clock.now = 5
    normal, high = await queued(made, Priority.NORMAL), await queued(made, Priority.HIGH)
    clock.now = 21
    late = await queued(made, Priority.HIGH)
    order = []
    for _ in range(4):
        made.release(seat, answered=True)
        await turned()
        [done] = [task for task in (low, normal, high, late) if task.done() and task not in order]
        order.append(done)
        seat = done.result()
    assert order == [high, normal, low, late]


async def test_nobody_overtakes_those_who_wait() -> None:
    made = line()
    seat = await made.acquire(Priority.NORMAL)
    first, second = await queued(made), await queued(made)
    made.release(seat, answered=True)
    third = await queued(made)  # it comes while the place is being handed over
    await turned()
    assert [task.done() for task in (first, second, third)] == [True, False, False]
    for task in (second, third):
        task.cancel()


async def test_a_full_line_turns_away_and_a_free_place_needs_no_line() -> None:
    made = line(size=1)
    await made.acquire(Priority.LOW)
    waiting = await queued(made)
    with pytest.raises(QueueOverflow):
        await made.acquire(Priority.NORMAL)
    waiting.cancel()
    await turned()
    assert not (await queued(made)).done(), "its place in the line is free again"
    nothing_waits = line(size=0)
    await nothing_waits.acquire(Priority.LOW)
    with pytest.raises(QueueOverflow):
        await nothing_waits.acquire(Priority.LOW)


async def test_a_line_full_of_what_is_less_urgent_turns_nobody_away_who_is_more_so() -> None:
    made = line(size=1)
    await made.acquire(Priority.LOW)
    waiting = [await queued(made, priority) for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH)]
    for priority in Priority:
        with pytest.raises(QueueOverflow):
            await made.acquire(priority)
    for task in waiting:
        task.cancel()


async def test_of_idle_replicas_each_gets_its_turn() -> None:
    made = line(replicas="abc")
    taken = []
    for _ in range(6):
        seat = await made.acquire(Priority.NORMAL)
        taken.append(seat.replica_id)
        made.release(seat, answered=True)
    assert sorted(taken[:3]) == ["a", "b", "c"]
    assert taken[3:] == taken[:3]


async def test_who_leaves_in_the_moment_of_being_served_gives_the_place_to_the_next() -> None:
    made = line()
    seat = await made.acquire(Priority.NORMAL)
    first, second = await queued(made), await queued(made)
    made.release(seat, answered=True)  # the first one's turn has come, and it has not noticed
    first.cancel()
    await turned()
    assert first.cancelled()
    assert (await asyncio.wait_for(second, 30)).in_flight == 1


async def test_who_leaves_the_line_is_passed_over() -> None:
    made = line()
    seat = await made.acquire(Priority.NORMAL)
    first, second = await queued(made), await queued(made)
    first.cancel()
    await turned()
    made.release(seat, answered=True)
    assert await asyncio.wait_for(second, 30) is seat


async def test_a_new_replica_serves_those_who_wait_and_one_that_left_gets_nothing_more() -> None:
    made = line()
    seat = await made.acquire(Priority.NORMAL)
    first = await queued(made)
    made.set_replicas({"b"})
    await turned()
    assert first.result().replica_id == "b"
    second = await queued(made)
    made.release(seat, answered=True)
    await turned()
    assert not second.done(), "the place that is free belongs to a replica that left"
    made.release(first.result(), answered=True)
    assert (await asyncio.wait_for(second, 30)).replica_id == "b"
    assert made.replica_ids == {"b"}


async def test_a_replica_that_left_and_came_back_starts_from_nothing() -> None:
    made = line()
    seat = await made.acquire(Priority.NORMAL)
    made.set_replicas(set())
    made.set_replicas({"a"})
    fresh = await asyncio.wait_for(made.acquire(Priority.NORMAL), 30)
    made.release(seat, answered=False)
    assert (seat.in_flight, fresh.in_flight) == (0, 1)


async def test_a_retried_request_goes_to_another_replica_when_there_is_one() -> None:
    made = line(concurrency=2, replicas="ab")
    assert (await made.acquire(Priority.NORMAL, avoid={"a"})).replica_id == "b"
    assert (await made.acquire(Priority.NORMAL, avoid={"a"})).replica_id == "b"
    assert (await made.acquire(Priority.NORMAL, avoid={"a"})).replica_id == "a"


async def test_retry_after_follows_the_answers() -> None:
    clock = HandClock()
    made = line(concurrency=9, clock=clock)
    assert made.retry_after() == balancing.UNMEASURED_RETRY_SECONDS
    seats = [await made.acquire(Priority.NORMAL) for _ in range(9)]
    for second, seat in enumerate(seats):
        clock.now = 4.0 * second
        made.release(seat, answered=True)
    assert made.retry_after() == 4


async def test_a_request_that_was_not_answered_is_no_measurement() -> None:
    made = line(concurrency=2)
    for seat in [await made.acquire(Priority.NORMAL) for _ in range(2)]:
        made.release(seat, answered=False)
    assert made.retry_after() == balancing.UNMEASURED_RETRY_SECONDS


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_comes_and_goes_no_replica_has_more_than_its_share_and_no_place_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    concurrency, size = chance.randint(1, 3), chance.randint(0, 6)
    made = line(concurrency, size, replicas="ab")
    asking: list[asyncio.Task[ReplicaSlot]] = []
    held: list[ReplicaSlot] = []
    for _ in range(300):
        asking, held = collect(asking, held)
        match chance.choice(("ask", "ask", "ask", "leave", "leave", "cancel", "seat")):
            case "ask":
                asking.append(await queued(made, chance.choice(list(Priority)), chance.choice(({"a"}, set()))))
            case "leave" if held:
                made.release(held.pop(chance.randrange(len(held))), answered=chance.random() < 0.8)
            case "cancel" if asking:
                chance.choice(asking).cancel()
            case "seat":
                made.set_replicas(set(chance.choice(("", "a", "b", "ab", "abc"))))
        if chance.random() < 0.5:
            await turned()
        assert all(0 <= load.in_flight <= concurrency for load in held)
    made.set_replicas(set("abc"))
    for _ in range(100):  # everybody who still waits is served in the end
        await turned()
        asking, held = collect(asking, held)
        while held:
            made.release(held.pop(), answered=True)
    assert not asking
    full = [await asyncio.wait_for(made.acquire(Priority.NORMAL), 30) for _ in range(3 * concurrency)]
    assert {load.in_flight for load in full} == {concurrency}, "a place was lost"


def collect(
    asking: list[asyncio.Task[ReplicaSlot]], held: list[ReplicaSlot]
) -> tuple[list[asyncio.Task[ReplicaSlot]], list[ReplicaSlot]]:
    """Who still asks, and who holds a place."""
    for task in asking:
        if task.done() and not task.cancelled() and task.exception() is None:
            held.append(task.result())
    return [task for task in asking if not task.done()], held


async def test_a_line_is_full_of_bytes_as_well_as_of_requests() -> None:
    made = line()
    await made.acquire(Priority.HIGH, size=900)  # it does not wait
    waiting = asyncio.create_task(made.acquire(Priority.HIGH, size=900))
    await asyncio.sleep(0)
    with pytest.raises(QueueOverflow):
        await made.acquire(Priority.HIGH, size=101)
    waiting.cancel()
    await turned()
    small = await queued(made)
    assert not small.done()
    small.cancel()


@pytest.mark.parametrize(("priority", "most"), [(Priority.LOW, 500), (Priority.NORMAL, 750), (Priority.HIGH, 1000)])
async def test_some_of_the_bytes_are_kept_for_what_is_more_urgent(priority: Priority, most: int) -> None:
    made = line()
    await made.acquire(Priority.LOW)
    with pytest.raises(QueueOverflow):
        await made.acquire(priority, size=most + 1)
    waiting = asyncio.create_task(made.acquire(priority, size=most))
    await turned()
    assert not waiting.done()
    waiting.cancel()


async def test_who_is_turned_away_in_the_moment_in_which_he_leaves_is_counted_out_once() -> None:
    made = line()
    await made.acquire(Priority.NORMAL)
    waiting = asyncio.create_task(made.acquire(Priority.NORMAL, size=100))
    await turned()
    waiting.cancel()
    made.reject_all()
    await turned()
    assert made.waiting == 0
    again = [asyncio.create_task(made.acquire(Priority.HIGH, size=500)) for _ in range(3)]
    await turned()
    assert isinstance(again[2].exception(), QueueOverflow), "the bytes are counted right"
    for task in again[:2]:
        task.cancel()


async def test_who_will_not_have_a_dead_replica_waits_for_another_and_keeps_nobody_from_it() -> None:
    made = line(concurrency=2)
    picky = asyncio.create_task(made.acquire(Priority.HIGH, never={"a"}))
    await turned()
    assert not picky.done()
    assert (await asyncio.wait_for(made.acquire(Priority.NORMAL), 30)).replica_id == "a"
    made.set_replicas({"a", "b"})
    assert (await asyncio.wait_for(picky, 30)).replica_id == "b"


@pytest.mark.parametrize("for_good", [True, False])
async def test_who_waits_in_vain_is_told_at_once(*, for_good: bool) -> None:
    made = line()
    seat = await made.acquire(Priority.NORMAL)
    waiting = [await queued(made) for _ in range(3)]
    (made.close if for_good else made.reject_all)()
    for task in waiting:
        with pytest.raises(QueueClosed):
            await task
    made.release(seat, answered=True)
    if for_good:
        with pytest.raises(QueueClosed):
            await made.acquire(Priority.NORMAL)
    else:
        assert (await made.acquire(Priority.NORMAL)).replica_id == "a"


async def test_a_replica_that_fails_again_and_again_rests_longer_each_time_and_an_answer_makes_it_good() -> None:
    clock = HandClock()
    made = line(concurrency=9, clock=clock, replicas="ab")
    assert [made.record_failure("a") for _ in range(3)] == [False, False, True]
    assert {(await made.acquire(Priority.NORMAL)).replica_id for _ in range(4)} == {"b"}
    assert not made.record_failure("a"), "it rests already"
    clock.now = waiting_module.PROBE_PAUSE_SECONDS
    trial = await made.acquire(Priority.NORMAL)
    assert trial.replica_id == "a"
    assert made.record_failure("a")
    clock.now += 1.5 * waiting_module.PROBE_PAUSE_SECONDS
    assert (await made.acquire(Priority.NORMAL)).replica_id == "b", "twice as long"
    clock.now += waiting_module.PROBE_PAUSE_SECONDS
    made.release(trial, answered=True)
    assert not made.record_failure("a")
    assert not made.record_failure("nobody")


async def test_when_all_fail_all_are_asked() -> None:
    made = line(concurrency=9, replicas="ab")
    assert [made.record_failure(letter) for _ in range(4) for letter in "ab"] == [False] * 4 + [True] * 2 + [False] * 2
    assert {(await made.acquire(Priority.NORMAL)).replica_id for _ in range(4)} == {"a", "b"}


async def test_a_replica_whose_connection_broke_rests_while_there_is_another() -> None:
    clock = HandClock()
    made = line(concurrency=4, clock=clock, replicas="ab")
    made.eject("a")
    assert [(await made.acquire(Priority.NORMAL)).replica_id for _ in range(2)] == ["b", "b"]
    clock.now += waiting_module.PROBE_PAUSE_SECONDS
    assert (await made.acquire(Priority.NORMAL)).replica_id == "a"


async def test_idle_time_says_nothing_of_the_rate() -> None:
    clock = HandClock()
    made = line(clock=clock)
    for start in (0.0, 3600.0):
        clock.now = start
        ahead = await made.acquire(Priority.NORMAL)
        for _ in range(20):
            behind = await queued(made)
            clock.now += 0.01
            made.release(ahead, answered=True)
            ahead = await behind
        assert made.retry_after() == 1
        made.release(ahead, answered=True)


async def test_callers_who_left_do_not_fill_the_heap() -> None:
    made = line(size=10)
    await made.acquire(Priority.NORMAL)
    await queued(made, Priority.HIGH)
    for _ in range(1000):
        gone = await queued(made, Priority.LOW)
        gone.cancel()
        await turned()
    assert len(made._heap) < 200


@pytest.mark.parametrize(("declared", "workers", "slots"), [(None, 4, 2), (6, 1, 6), (6, 4, 1), (2, 4, 1)])
async def test_workers_share_the_concurrency_that_a_bento_declares(
    declared: int | None, workers: int, slots: int
) -> None:
    queue = RequestQueue(QueueLimits(2, 10, 10**6, AGEING, workers))
    queue.set_replicas({"a"})
    queue.set_concurrency(declared)
    assert queue.slots == slots


async def test_more_concurrency_serves_those_who_wait_at_once() -> None:
    queue = RequestQueue(QueueLimits(1, 10, 10**6, AGEING))
    queue.set_replicas({"a"})
    await queue.acquire(Priority.NORMAL)
    waiting = asyncio.create_task(queue.acquire(Priority.NORMAL))
    await asyncio.sleep(0)
    queue.set_concurrency(2)
    assert (await waiting).replica_id == "a"
