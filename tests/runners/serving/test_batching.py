"""Batches: nothing waits for company, what comes meanwhile goes together, and nobody's misfortune is another's."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from runners.serving.batching import Batcher


class Doubling:
    """Doubles numbers, in batches that it remembers; the first one waits until it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.may_go = Event()
        if not held:
            self.may_go.set()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.may_go.wait(10)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0.01)


async def test_an_item_alone_is_computed_at_once() -> None:
    compute = Doubling()
    assert await Batcher(compute, 4)([3]) == [6]
    assert compute.batches == [[3]]


async def test_what_comes_while_a_batch_is_computed_makes_the_next_ones_in_order() -> None:
    compute = Doubling(held=True)
    batcher = Batcher(compute, 3)
    asked = [asyncio.ensure_future(batcher([number])) for number in range(6)]
    await turns()
    compute.may_go.set()
    assert await asyncio.gather(*asked) == [[0], [2], [4], [6], [8], [10]]
    assert [len(batch) for batch in compute.batches] == [3, 3]
    assert [item for batch in compute.batches for item in batch] == [*range(6)]


async def test_many_items_of_one_caller_come_back_in_order_beside_those_of_others() -> None:
    compute = Doubling(held=True)
    batcher = Batcher(compute, 4)
    first = asyncio.ensure_future(batcher([1]))
    await turns()
    many, one = asyncio.ensure_future(batcher([*range(10)])), asyncio.ensure_future(batcher([50]))
    await turns()
    compute.may_go.set()
    assert await first == [2]
    assert await many == [2 * number for number in range(10)]
    assert await one == [100]
    assert [len(batch) for batch in compute.batches] == [1, 4, 4, 3]


async def test_nothing_is_asked_of_nothing() -> None:
    assert await Batcher(Doubling(), 4)([]) == []


async def test_what_a_batch_raises_is_told_to_its_callers_alone() -> None:
    compute = Doubling(held=True)
    batcher = Batcher(compute, 2)
    asked = [asyncio.ensure_future(batcher([number])) for number in (1, 2, 13, 4, 5)]
    await turns()
    compute.may_go.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert told[:2] == [[2], [4]]
    assert all(isinstance(one, ValueError) for one in told[2:4])
    assert told[4] == [10]
    assert await batcher([6]) == [12]


async def test_an_item_that_nobody_waits_for_any_more_is_not_computed() -> None:
    compute = Doubling(held=True)
    batcher = Batcher(compute, 4)
    first = asyncio.ensure_future(batcher([1]))
    await turns()
    left, stays = asyncio.ensure_future(batcher([2, 3])), asyncio.ensure_future(batcher([4]))
    await turns()
    left.cancel()
    await turns()
    compute.may_go.set()
    assert await first == [2]
    assert await stays == [8]
    assert compute.batches == [[1], [4]]
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_a_caller_who_leaves_during_its_batch_harms_nobody_in_it() -> None:
    compute = Doubling(held=True)
    batcher = Batcher(compute, 4)
    asked = [asyncio.ensure_future(batcher([number])) for number in (1, 2)]
    await turns()
    asked[0].cancel()
    compute.may_go.set()
    assert await asked[1] == [4]


async def test_a_model_that_gives_too_few_results_is_an_error_and_not_a_hanging_caller() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: items[1:], 4)
    with pytest.raises(AssertionError, match="0 results for 1 items"):
        await asyncio.wait_for(batcher([1]), 30)


async def test_a_thousand_callers_get_their_own_answers() -> None:
    batcher = Batcher(Doubling(), 7)
    told = await asyncio.gather(*(batcher([number]) for number in range(100, 1100)))
    assert told == [[2 * number] for number in range(100, 1100)]


async def test_what_no_future_can_hold_is_an_error_and_not_a_hanging_caller() -> None:
    def stops(items: list[int]) -> list[int]:
        return [next(iter([])) for _ in items]

    batcher: Batcher[int, int] = Batcher(stops, 4)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(batcher([1]), 30)


async def test_batches_that_cannot_be_counted_are_answered() -> None:
    def count(size: int, waited: float) -> None:
        raise OSError("no space left")

    batcher = Batcher(Doubling(), 4, count)
    assert await asyncio.wait_for(batcher([1, 2]), 30) == [2, 4]
    assert await asyncio.wait_for(batcher([3]), 30) == [6]


async def test_every_batch_is_told_of_with_its_size() -> None:
    told: list[int] = []
    compute = Doubling(held=True)
    batcher = Batcher(compute, 4, lambda size, waited: told.append(size))
    asked = [asyncio.ensure_future(batcher([number])) for number in range(3)]
    await turns()
    compute.may_go.set()
    await asyncio.gather(*asked)
    assert sum(told) == 3


async def test_batches_are_computed_in_streams_side_by_side() -> None:
    compute = Doubling(held=True)
    batcher = Batcher(compute, 2, streams=2)
    asked = [asyncio.ensure_future(batcher([number])) for number in range(6)]
    await turns()
    assert compute.batches == [[0, 1], [2, 3]]
    compute.may_go.set()
    assert await asyncio.gather(*asked) == [[0], [2], [4], [6], [8], [10]]
