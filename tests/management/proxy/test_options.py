"""How long a caller waits for a model, how urgent its requests are, and how many of them a replica gets at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from management.domain.bento import Bento, BentoApi, TrafficLimits
from tests.doubles.own_address import (
    ASLEEP,
    BENTO,
    SERVED,
    Held,
    OwnAddress,
    Pieces,
    Recorder,
    own_address,
    replica_of,
    serving_model,
)


async def ask(
    address: OwnAddress, session: aiohttp.ClientSession, inner: str = "/x", **headers: str
) -> tuple[int, str | None]:
    """Status of an answer, and the code of an error of the server."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.get(address.url + inner, headers=given) as answer:
        await answer.read()
        return answer.status, answer.headers.get("X-Atelier-Error")


async def test_a_caller_decides_how_long_it_waits_for_the_first_byte(tmp_path: Path) -> None:
    held = Held()
    async with serving_model(tmp_path, held) as address, address.session() as session:
        assert await ask(address, session, X_Atelier_Timeout="0.2") == (408, "INFERENCE_TIMEOUT")
        await asyncio.wait_for(held.left.acquire(), 10)
        await address.free()


@pytest.mark.parametrize("given", ["", "0", "-1", "abc", "1e3", "inf", "nan", "1,5", "9999999", "0x5", "1_0", " ", "."])
async def test_a_timeout_that_means_nothing_is_refused(tmp_path: Path, given: str) -> None:
    model = Recorder()
    async with serving_model(tmp_path, model) as address, address.session() as session:
        assert await ask(address, session, X_Atelier_Timeout=given) == (400, "INVALID_REQUEST")
    assert model.scopes == []


async def test_a_timeout_is_given_once(tmp_path: Path) -> None:
    async with serving_model(tmp_path, Recorder()) as address, address.session() as session:
        headers = [("X-Atelier-Timeout", "1"), ("X-Atelier-Timeout", "2")]
        async with session.get(f"{address.url}/x", headers=headers) as answer:
            assert (answer.status, answer.headers["X-Atelier-Error"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("given", ["low", "Normal", "HIGH"])
async def test_a_caller_may_name_a_priority(tmp_path: Path, given: str) -> None:
    async with serving_model(tmp_path, Recorder()) as address, address.session() as session:
        assert await ask(address, session, X_Atelier_Priority=given) == (200, None)
        assert await ask(address, session, X_Atelier_Priority=f"{given}est") == (400, "INVALID_REQUEST")


async def test_the_timeout_of_the_bento_is_the_usual_one(tmp_path: Path) -> None:
    held = Held()
    async with own_address(tmp_path) as address, replica_of(held) as replica, address.session() as session:
        address.surroundings.bento = replace(BENTO, traffic=TrafficLimits(timeout=0.2))
        address.learn(SERVED, replica)
        assert await ask(address, session) == (408, "INFERENCE_TIMEOUT")
        asking = asyncio.create_task(ask(address, session, X_Atelier_Timeout="30"))
        async with asyncio.timeout(10):
            await held.begun.acquire()
            await held.begun.acquire()
        held.go_on.set()
        assert await asking == (200, None)


async def test_the_deadline_ends_with_the_first_byte(tmp_path: Path) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model) as address, address.session() as session:
        async with session.get(f"{address.url}/x", headers={"X-Atelier-Timeout": "0.5"}) as answer:
            loop = asyncio.get_running_loop()
            late = loop.time() + 0.6
            while loop.time() < late:
                model.pieces.put_nowait(b"piece")
                assert await answer.content.read(5) == b"piece"
                await asyncio.sleep(0.05)
            model.pieces.put_nowait(None)
            assert await answer.read() == b""


async def test_who_waits_too_long_in_the_queue_is_told_so(tmp_path: Path) -> None:
    held = Held()
    async with serving_model(tmp_path, held, concurrency=1) as address, address.session() as session:
        first = asyncio.create_task(ask(address, session))
        await asyncio.wait_for(held.begun.acquire(), 10)
        assert await ask(address, session, X_Atelier_Timeout="0.2") == (408, "INFERENCE_TIMEOUT")
        held.go_on.set()
        assert await first == (200, None)
    assert held.most == 1


async def test_an_urgent_request_overtakes_one_that_waits_already(tmp_path: Path) -> None:
    held, order = Held(), list[str]()
    async with serving_model(tmp_path, held, concurrency=1) as address, address.session() as session:

        async def wait(priority: str) -> None:
            await ask(address, session, X_Atelier_Priority=priority)
            order.append(priority)

        first = asyncio.create_task(ask(address, session))
        await asyncio.wait_for(held.begun.acquire(), 10)
        route = address.gateway.routes.get("hello")
        assert route is not None
        waiting = []
        for number, priority in enumerate(("low", "normal", "high"), start=1):
            waiting.append(asyncio.create_task(wait(priority)))
            async with asyncio.timeout(10):
                while route.queue.waiting < number:  # noqa: ASYNC110 - the queue has no event for it
                    await asyncio.sleep(0.01)
        held.go_on.set()
        await asyncio.gather(first, *waiting)
    assert order == ["high", "normal", "low"]


async def test_an_answer_tells_how_long_its_request_waited(tmp_path: Path) -> None:
    held = Held()
    async with serving_model(tmp_path, held, concurrency=1) as address, address.session() as session:

        async def queued() -> float:
            async with session.get(f"{address.url}/x") as answer:
                return float(answer.headers["X-Atelier-Queue-Time"])

        first = asyncio.create_task(queued())
        await asyncio.wait_for(held.begun.acquire(), 10)
        second = asyncio.create_task(queued())
        await asyncio.sleep(0.3)
        held.go_on.set()
        assert await first < 0.2 <= await second < 10


async def test_a_full_queue_is_said_with_when_to_try_again(tmp_path: Path) -> None:
    held = Held()
    async with serving_model(tmp_path, held, concurrency=1, queue_size=0) as address, address.session() as session:
        first = asyncio.create_task(ask(address, session))
        await asyncio.wait_for(held.begun.acquire(), 10)
        async with session.get(f"{address.url}/x") as answer:
            assert (answer.status, answer.headers["X-Atelier-Error"]) == (503, "INSUFFICIENT_RESOURCES")
            assert int(answer.headers["Retry-After"]) >= 1
        held.go_on.set()
        assert await first == (200, None)


async def test_a_replica_gets_no_more_at_a_time_than_its_bento_takes(tmp_path: Path) -> None:
    held = Held()
    async with own_address(tmp_path) as address, replica_of(held) as replica, address.session() as session:
        address.surroundings.bento = replace(BENTO, traffic=TrafficLimits(concurrency=3))
        address.learn(SERVED, replica)
        asking = [asyncio.create_task(ask(address, session)) for _ in range(12)]
        async with asyncio.timeout(10):
            for _ in range(3):
                await held.begun.acquire()
        assert address.in_flight == 3
        held.go_on.set()
        assert await asyncio.gather(*asking) == [(200, None)] * 12
    assert held.most == 3


@pytest.fixture
async def sleeping(tmp_path: Path) -> AsyncIterator[OwnAddress]:
    """A model that sleeps, and whose Bento serves ``/greet`` alone."""
    async with own_address(tmp_path) as address:
        address.surroundings.bento = Bento(
            **{**vars(BENTO), "apis": (BentoApi("greet", "/greet"),), "paths_complete": True}
        )
        address.learn(ASLEEP)
        yield address


async def test_a_path_that_the_bento_does_not_serve_wakes_no_model(sleeping: OwnAddress) -> None:
    async with sleeping.session() as session:
        for inner in ("/nothing", "/greet/", "/.git/config", "/wp-login.php", "/greet/submit"):
            assert await ask(sleeping, session, inner) == (404, "NOT_FOUND")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{sleeping.url}/nothing")
    assert refused.value.status == 404
    assert sleeping.surroundings.awoken == []


async def test_a_path_that_the_bento_serves_wakes_the_model(sleeping: OwnAddress) -> None:
    model = Recorder()

    async with replica_of(model) as replica, sleeping.session() as session:

        async def wake() -> None:
            sleeping.learn(SERVED, replica)

        sleeping.surroundings.wake = wake
        assert await ask(sleeping, session, "/greet") == (200, None)
    assert sleeping.surroundings.awoken == ["hello"]


async def test_a_model_that_is_awake_answers_for_all_its_paths_itself(sleeping: OwnAddress) -> None:
    model = Recorder()
    async with replica_of(model) as replica, sleeping.session() as session:
        sleeping.learn(SERVED, replica)
        assert await ask(sleeping, session, "/nothing") == (200, None)
    assert sleeping.surroundings.awoken == []
