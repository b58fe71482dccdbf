"""The forwarder of a replica of several services, between two real servers: what reaches the inner one, and its end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from starlette.types import ASGIApp

from management.backends.replica import forwarder
from management.gateway import replica_client
from management.proxy import headers, websocket
from tests.doubles.own_address import Held, Recorder, port_of, serving

SOON = 10.0


@pytest.fixture
def door() -> Iterator[str]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        yield str(Path(folder) / "door")


@asynccontextmanager
async def forwarding(door: str) -> AsyncIterator[str]:
    """Serve the forwarder to that door, and return its host."""
    async with serving(forwarder.Forwarder(door), lifespan="on") as server:
        yield f"127.0.0.1:{port_of(server)}"


@asynccontextmanager
async def before(app: ASGIApp, door: str) -> AsyncIterator[str]:
    """Serve the application at the door, and the forwarder before it."""
    async with serving(app, uds=door), forwarding(door) as host:
        yield host


@pytest.mark.parametrize("pieces", [0, 1, 3])
async def test_a_caller_that_leaves_before_the_headers_ends_the_work(door: str, pieces: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"x" * 100_000

    model = Held()
    async with before(model, door) as host, aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(f"http://{host}/x", data=body() if pieces else None).__aenter__())
        async with asyncio.timeout(SOON):
            await model.begun.acquire()
            asking.cancel()
            await model.left.acquire()
    assert model.in_flight == 0


async def test_the_server_sees_the_host_of_the_caller(door: str) -> None:
    model = Recorder()
    named = {"Host": "hello.models.localhost:8000"}
    async with before(model, door) as host, aiohttp.ClientSession(headers=named) as session:
        await (await session.get(f"http://{host}/x")).read()
    assert model.got("host") == [b"hello.models.localhost:8000"]


async def test_a_request_that_the_server_does_not_answer_is_a_failure_of_the_replica(door: str) -> None:
    async with forwarding(door) as host, aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}/x") as answer:
            assert answer.status == 502
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"http://{host}/x")
        assert refused.value.status == 502


def test_what_the_forwarder_repeats_because_it_stands_alone_is_the_same_elsewhere() -> None:
    assert forwarder.HOP_BY_HOP == headers.HOP_BY_HOP
    assert forwarder.MAX_MESSAGE_BYTES == replica_client.MAX_MESSAGE_BYTES
    assert forwarder.UNSENT == websocket.UNSENT
