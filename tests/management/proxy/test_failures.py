"""What becomes of a request whose replica ends: it is repeated only where that repeats no work that may not be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from management.gateway.replica_answer import WHOLE_BYTES
from tests.doubles.asgi import read, respond
from tests.doubles.own_address import (
    SERVED,
    OwnAddress,
    Pieces,
    Recorder,
    breaking_replica,
    own_address,
    replica_of,
    serving_model,
)

SOON = 10.0


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[OwnAddress]:
    async with own_address(tmp_path) as serving:
        yield serving


async def ask(address: OwnAddress, method: str, body: bytes | None = None, **headers: str) -> tuple[int, str | None]:
    """Ask while the first replica ends each request, and the second answers; then status, and code of our errors."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with address.session() as session:
        async with session.request(method, f"{address.url}/x", data=body, headers=given) as answer:
            await answer.read()
            return answer.status, answer.headers.get("X-Atelier-Error")


async def both(address: OwnAddress, method: str, body: bytes | None = None, **headers: str) -> tuple[int, int, int]:
    """Status of an answer, and how often each of two replicas was asked, of which the first ends each request."""
    begun: list[bytes] = []
    model = Recorder()
    async with breaking_replica(begun) as breaks, replica_of(model) as answers:
        address.learn(SERVED, breaks)
        asking = asyncio.create_task(ask(address, method, body, **headers))
        async with asyncio.timeout(SOON):
            while not begun:
                address.learn(SERVED, breaks, answers)
                await asyncio.sleep(0.01)
        status, _ = await asking
    return status, len(begun), len(model.scopes)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_request_that_changes_nothing_is_repeated_once(address: OwnAddress, method: str) -> None:
    assert await both(address, method) == (200, 1, 1)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_another_request_is_not_repeated(address: OwnAddress, method: str) -> None:
    assert await both(address, method, b"body") == (502, 1, 0)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_request_with_an_idempotency_key_is_repeated_once(address: OwnAddress, method: str) -> None:
    assert await both(address, method, b"body", Idempotency_Key="k-1") == (200, 1, 1)


async def test_a_request_that_is_not_repeated_is_answered_with_a_marked_error(address: OwnAddress) -> None:
    async with breaking_replica([]) as breaks:
        address.learn(SERVED, breaks)
        assert await ask(address, "POST", b"body") == (502, "MODEL_FAILED")
    await address.free()


async def test_a_request_that_ends_two_replicas_ends_no_third(address: OwnAddress) -> None:
    begun: list[bytes] = []
    async with breaking_replica(begun) as first, breaking_replica(begun) as second, breaking_replica(begun) as third:
        address.learn(SERVED, first, second, third)
        assert (await ask(address, "GET"))[0] == 503
    assert len(begun) == 2


async def test_a_request_of_which_nothing_was_sent_is_always_repeated(address: OwnAddress) -> None:
    model = Recorder()
    async with replica_of(Recorder()) as gone:
        pass
    async with replica_of(model) as answers:
        address.learn(SERVED, gone, answers)
        for _ in range(4):
            assert await ask(address, "POST", b"body") == (200, None)
    assert model.bodies == [b"body"] * 4


async def test_a_streamed_body_of_which_nothing_was_sent_reaches_another_replica_whole(address: OwnAddress) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * 100_000

    model = Recorder()
    async with replica_of(Recorder()) as gone:
        pass
    async with replica_of(model) as answers, address.session() as session:
        address.learn(SERVED, gone, answers)
        for _ in range(4):
            async with session.post(f"{address.url}/x", data=pieces()) as answer:
                assert answer.status == 200
    assert [len(body) for body in model.bodies] == [800_000] * 4


async def test_a_streamed_body_that_has_begun_is_not_repeated(address: OwnAddress) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * 100_000
            await asyncio.sleep(0.01)

    model = Recorder()
    async with breaking_replica([]) as breaks, replica_of(model) as answers, address.session() as session:
        address.learn(SERVED, breaks)
        try:
            async with session.put(f"{address.url}/x", data=pieces(), headers={"Idempotency-Key": "k"}) as answer:
                assert (answer.status, answer.headers["X-Atelier-Error"]) == (502, "MODEL_FAILED")
        except aiohttp.ClientConnectionError:
            pass  # the answer came while the body was still being sent
        address.learn(SERVED, breaks, answers)
    assert model.bodies == []


def cut_off(named: list[tuple[bytes, bytes]]) -> ASGIApp:
    """Return a model that dies within its answer, the head of which has these headers."""

    async def dies(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": named})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ConnectionResetError

    return dies


@pytest.mark.parametrize("named", [[], [(b"content-length", b"%d" % (WHOLE_BYTES + 1))]], ids=["stream", "large"])
async def test_an_answer_that_has_begun_is_not_repeated(address: OwnAddress, named: list[tuple[bytes, bytes]]) -> None:
    model = Recorder()
    async with replica_of(cut_off(named)) as first, replica_of(model) as second, address.session() as session:
        address.learn(SERVED, first)
        async with session.get(f"{address.url}/x") as answer:
            address.learn(SERVED, first, second)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
    assert model.scopes == []


async def test_a_small_answer_that_breaks_off_is_as_none(address: OwnAddress) -> None:
    model = Recorder()
    async with replica_of(cut_off([(b"content-length", b"10")])) as first, replica_of(model) as second:
        address.learn(SERVED, first)
        assert await ask(address, "POST", b"body") == (502, "MODEL_FAILED")
        address.learn(SERVED, first, second)
        for _ in range(4):
            assert await ask(address, "GET") == (200, None)
    await address.free()


async def test_a_websocket_that_is_not_open_yet_goes_to_another_replica(address: OwnAddress) -> None:
    async def opens(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    begun: list[bytes] = []
    async with breaking_replica(begun) as breaks, replica_of(opens) as answers, address.session() as session:
        address.learn(SERVED, breaks, answers)
        for _ in range(2):
            async with session.ws_connect(f"{address.url}/x"):
                pass


async def test_a_replica_that_keeps_failing_is_ejected(address: OwnAddress) -> None:
    failing, model = Recorder(), Recorder()
    failing.status = 500
    async with replica_of(failing) as fails, replica_of(model) as answers:
        address.learn(SERVED, fails, answers)
        statuses = [(await ask(address, "POST"))[0] for _ in range(20)]
    assert statuses.count(500) == 3
    assert address.surroundings.ejected == [fails.id]


async def test_a_model_that_says_it_is_busy_is_not_ejected(address: OwnAddress) -> None:
    busy = Recorder()
    busy.status = 503
    async with replica_of(busy) as replica:
        address.learn(SERVED, replica)
        assert [await ask(address, "POST") for _ in range(6)] == [(503, None)] * 6
    assert address.surroundings.ejected == []


async def test_a_stream_that_goes_silent_counts_as_a_failure_and_one_that_is_left_does_not(tmp_path: Path) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model, stream_seconds=0.1) as address, address.session() as session:
        for _ in range(4):
            async with session.get(f"{address.url}/x") as answer:
                answer.close()
            await asyncio.wait_for(model.left.wait(), SOON)
            model.left.clear()
        await address.free()
        assert address.surroundings.ejected == []
        for _ in range(3):
            async with session.get(f"{address.url}/x") as answer:
                await answer.read()
        assert len(address.surroundings.ejected) == 1


async def test_a_stream_of_a_replica_that_is_being_replaced_is_not_cut(address: OwnAddress) -> None:
    old, new = Pieces(), Recorder()
    async with replica_of(old) as first, replica_of(new, 2) as second, address.session() as session:
        address.learn(SERVED, first)
        async with session.get(f"{address.url}/x") as answer:
            address.learn(replace(SERVED), second)
            for number in range(5):
                old.pieces.put_nowait(str(number).encode())
                assert await answer.content.read(1) == str(number).encode()
                async with session.get(f"{address.url}/x") as other:
                    assert other.headers["X-Atelier-Revision"] == "2"
            old.pieces.put_nowait(None)
            assert await answer.read() == b""
    assert len(new.scopes) == 5


async def test_a_replica_that_answers_no_http_is_a_failed_model(address: OwnAddress) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server, replica_of(Recorder()) as like:
        address.learn(SERVED, replace(like, address=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        assert await ask(address, "POST") == (502, "MODEL_FAILED")


async def test_an_answer_with_headers_that_http_does_not_allow_is_a_failed_model(address: OwnAddress) -> None:
    async def injects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(injects, "127.0.0.1", 0) as server, replica_of(Recorder()) as like:
        address.learn(SERVED, replace(like, address=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        assert (await ask(address, "POST"))[0] in (200, 502)


async def test_an_early_answer_to_a_large_body_reaches_the_caller(address: OwnAddress) -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 401, [(b"x-mine", b"1")], b"not you")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 100_000

    async with replica_of(early) as replica, address.session() as session:
        address.learn(SERVED, replica)
        async with session.post(f"{address.url}/x", data=pieces()) as answer:
            assert (answer.status, await answer.read()) == (401, b"not you")
    await address.free()
