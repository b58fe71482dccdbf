"""The gateway alone: who waits for what, whom it has woken, and what becomes of it when replicas are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from management.domain.records import Deployment, Replica
from management.errors import BackendUnavailable, InsufficientResources, ModelNotReady
from management.gateway import queue
from management.gateway.call import CallOptions
from management.gateway.contract import Item, Result
from management.gateway.failover import GatewayHooks
from management.gateway.gateway import Gateway
from management.gateway.priority import Priority
from tests.doubles.management import deployment, replica, revision, settings

TERMS = CallOptions(Priority.NORMAL, 10.0, "request")
SERVED = deployment(last_stable=revision(1))
ASLEEP = replace(SERVED, replicas=0, scaled_to_zero=True)
STOPPED = replace(SERVED, replicas=0)


class World:
    """A gateway, and what it had others do."""

    def __init__(self, folder: Path) -> None:
        self.awoken: list[str] = []
        self.suspects: list[str] = []
        self.ejected: list[str] = []
        self.backend_is_there = True
        self.awaken: Callable[[], Awaitable[None]] = self.nothing
        calls = GatewayHooks(
            self.nothing,
            self._awaken,
            self.suspects.append,
            lambda deployment, replica_id, reason: self.ejected.append(replica_id),
            self._answers,
        )
        self.gateway = Gateway(settings(folder).queue, calls)

    async def nothing(self) -> None:
        """What takes no time."""

    async def _answers(self) -> bool:
        return self.backend_is_there

    async def _awaken(self, model_id: str) -> None:
        self.awoken.append(model_id)
        await self.awaken()

    def learn(self, wish: Deployment, *ready: Replica) -> None:
        self.gateway.learn([wish], [replace(each, deployment_id=wish.id) for each in ready])

    async def asked(self, seconds: float = 10.0) -> asyncio.Task[list[Result]]:
        """Somebody who has asked, and waits."""
        item: Item = {"input_data": {}, "parameters": {}}
        task = asyncio.create_task(self.gateway.infer("echo", [item], replace(TERMS, seconds=seconds)))
        await asyncio.sleep(0.05)
        return task


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.gateway.close()


@asynccontextmanager
async def answering(status: int = 200) -> AsyncIterator[Replica]:
    """A replica that answers everything with that status."""

    async def infer(request: web.Request) -> web.Response:
        items = (await request.json())["requests"]
        return web.json_response([{"output_data": {"n": 1}} for _ in items], status=status)

    app = web.Application()
    app.router.add_post("/infer", infer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield replica(address=address)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def breaking(asked: list[str], *, alive: bool = True) -> AsyncIterator[Replica]:
    """A replica that ends while it works, or one that is ending already and whose system still takes connections."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1].decode())
        if alive and asked[-1] != "/infer":
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        yield replica(address=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def test_replicas_that_end_together_cost_no_request(world: World) -> None:
    asked: list[str] = []
    async with breaking(asked, alive=False) as first, breaking(asked, alive=False) as second:
        world.learn(SERVED, first, second)
        waiting = await world.asked()
        async with answering() as third:
            world.learn(SERVED, first, second, third)
            assert await waiting == [{"output_data": {"n": 1}}]
    assert asked.count("/infer") == 1
    assert "/livez" in asked


async def test_an_input_that_ends_replicas_ends_two(world: World) -> None:
    asked: list[str] = []
    async with breaking(asked) as first, breaking(asked) as second, breaking(asked) as third:
        world.learn(SERVED, first, second, third)
        with pytest.raises(ModelNotReady):
            await (await world.asked())
    assert asked == ["/infer", "/livez", "/infer"]


async def gone() -> Replica:
    """One that is ready by all that is known, and is not there."""
    async with answering() as server:
        return server


async def test_who_asks_a_sleeping_model_wakes_it_and_waits(world: World) -> None:
    world.learn(ASLEEP)
    waiting = await world.asked()
    assert world.awoken == ["echo"]
    async with answering() as server:
        world.learn(SERVED, server)
        assert await waiting == [{"output_data": {"n": 1}}]


async def test_who_waits_already_when_a_model_goes_to_sleep_wakes_it_too(world: World) -> None:
    world.learn(SERVED)
    waiting = await world.asked()
    assert world.awoken == []
    world.learn(ASLEEP)
    await asyncio.sleep(0.05)
    assert world.awoken == ["echo"]
    async with answering() as server:
        world.learn(SERVED, server)
        assert await waiting == [{"output_data": {"n": 1}}]


@pytest.mark.parametrize("asleep_first", [True, False])
async def test_a_model_that_finds_no_room_to_wake_up_keeps_nobody_waiting(world: World, *, asleep_first: bool) -> None:
    async def refused() -> None:
        raise InsufficientResources(retry_after=10)

    world.awaken = refused
    world.learn(ASLEEP if asleep_first else SERVED)
    waiting = await world.asked()
    world.learn(ASLEEP)
    with pytest.raises((InsufficientResources, ModelNotReady)) as told:
        await asyncio.wait_for(waiting, 30)
    assert told.value.retry_after


async def test_a_model_that_was_stopped_while_it_was_woken_keeps_nobody_waiting(world: World) -> None:
    async def stopped() -> None:
        world.learn(STOPPED)

    world.awaken = stopped
    world.learn(ASLEEP)
    waiting = await world.asked()
    with pytest.raises(ModelNotReady):
        await asyncio.wait_for(waiting, 30)


async def test_a_model_that_was_never_ready_is_not_waited_for_and_one_on_demand_is(world: World) -> None:
    world.learn(
        replace(
            SERVED, last_stable=None, target=revision(1, scaling=replace(revision().config.scaling, min_replicas=1))
        )
    )
    with pytest.raises(ModelNotReady):
        await (await world.asked())
    world.learn(replace(SERVED, last_stable=None))
    waiting = await world.asked()
    async with answering() as server:
        world.learn(SERVED, server)
        assert await waiting == [{"output_data": {"n": 1}}]


async def test_who_finds_the_only_replica_dead_waits_for_its_successor(world: World) -> None:
    dead = await gone()
    world.learn(SERVED, dead)
    waiting = await world.asked()
    assert not waiting.done()
    assert world.suspects == [dead.id]
    async with answering() as server:
        world.learn(SERVED, server)
        assert await waiting == [{"output_data": {"n": 1}}]


async def test_a_replica_that_fails_again_and_again_is_told_of_once_while_it_rests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PROBE_PAUSE_SECONDS", queue.LONGEST_EJECTION_SECONDS)  # no request outlasts it
    async with answering(500) as bad:
        world.learn(SERVED, bad)
        for _ in range(20):
            waiting = await world.asked()
            await asyncio.wait({waiting})
            assert waiting.exception() is not None
    assert world.ejected == [bad.id]


async def test_who_finds_nobody_while_nothing_can_be_started_is_told_so_at_once(world: World) -> None:
    world.learn(SERVED, await gone())
    world.backend_is_there = False
    waiting = await world.asked()
    with pytest.raises(BackendUnavailable):
        await asyncio.wait_for(waiting, 30)


async def test_who_asks_a_model_without_replicas_is_told_whether_there_will_be_some(world: World) -> None:
    world.learn(STOPPED)
    with pytest.raises(ModelNotReady):
        await (await world.asked())
    world.backend_is_there = False
    with pytest.raises(BackendUnavailable):
        await (await world.asked())
