"""What the gateway knows and counts: which Bento answers, who failed, and which callers have left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from management.counters import Outcome
from management.domain.bento import Bento, TrafficLimits
from management.domain.records import Deployment
from management.errors import BackendUnavailable
from tests.doubles.management import revision
from tests.doubles.own_address import BENTO, MODEL, SERVED, Held, OwnAddress, Recorder, replica_of, serving_model

OLD, NEW = revision(1), revision(2)


def imaged(image: str, number: int) -> Deployment:
    """The deployment, whose target has another image."""
    target = replace(NEW, number=number, config=replace(NEW.config, docker_image=image))
    return replace(SERVED, target=target, last_stable=OLD)


def outcomes(address: OwnAddress) -> dict[Outcome, int]:
    route = address.gateway.routes.get(MODEL)
    assert route is not None
    return {outcome: number for outcome, number in route.counters.outcomes.items() if number}


async def test_while_an_update_is_not_ready_the_bento_that_serves_counts(tmp_path: Path) -> None:
    async with serving_model(tmp_path, Recorder()) as address, replica_of(Recorder(), 1) as old:
        asked: list[str] = []

        async def describe(image: str) -> Bento | None:
            asked.append(image)
            return replace(BENTO, traffic=TrafficLimits(concurrency=5 if image == "new/bento:2.0.0" else 3))

        address.surroundings.read = describe
        address.learn(imaged("new/bento:2.0.0", 2), old)
        bento = await address.gateway.bento(MODEL)
        assert bento is not None
        assert (bento.traffic.concurrency, asked) == (3, [OLD.config.docker_image])
        async with replica_of(Recorder(), 2) as ready:
            new = replace(ready, revision=imaged("new/bento:2.0.0", 2).target)
            address.learn(imaged("new/bento:2.0.0", 2), old, new)
            bento = await address.gateway.bento(MODEL)
            assert bento is not None
            assert bento.traffic.concurrency == 5


async def test_a_backend_that_is_away_holds_up_no_call(tmp_path: Path) -> None:
    async with serving_model(tmp_path, Recorder()) as address, address.session() as session:
        asked: list[str] = []

        async def describe(image: str) -> Bento | None:
            asked.append(image)
            raise BackendUnavailable

        address.surroundings.read = describe
        for _ in range(3):
            async with session.get(f"{address.url}/x") as answer:
                assert answer.status == 200
    assert len(asked) == 1, "it is asked again after a while"


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, Outcome.ANSWERED), (404, Outcome.ANSWERED), (500, Outcome.FAILED)]
)
async def test_a_failure_of_the_model_is_counted_as_one(tmp_path: Path, status: int, outcome: Outcome) -> None:
    model = Recorder()
    model.status = status
    async with serving_model(tmp_path, model) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            await answer.read()
        await address.free()
        assert outcomes(address) == {outcome: 1}


async def test_a_caller_who_leaves_before_the_answer_is_counted_as_gone(tmp_path: Path) -> None:
    held = Held()
    async with serving_model(tmp_path, held) as address:
        async with address.session() as session:
            call = asyncio.create_task(session.get(f"{address.url}/x"))
            while not address.in_flight:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await address.free()
        assert outcomes(address) == {Outcome.LEFT: 1}


async def test_a_caller_who_leaves_while_its_websocket_waits_frees_its_place_in_the_queue(tmp_path: Path) -> None:
    held = Held()
    async with serving_model(tmp_path, held, concurrency=1) as address, address.session() as session:
        first = asyncio.create_task(session.get(f"{address.url}/x"))
        while not address.in_flight:  # noqa: ASYNC110 - the queue has no event for it
            await asyncio.sleep(0.01)
        route = address.gateway.routes.get(MODEL)
        assert route is not None
        async with aiohttp.ClientSession(headers=address.key()) as other:
            waiting = asyncio.create_task(other.ws_connect(f"{address.url}/ws"))
            while not route.queue.waiting:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(10):
            while route.queue.waiting:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
