"""WebSockets at a model's own address: messages and close codes pass both ways, until either side has left."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha1
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from management import counters
from management.domain.keys import Role
from tests.doubles.own_address import SERVED, OwnAddress, Recorder, own_address, replica_of, serving_model

SOON = 10.0
LARGE = 2 * 1024 * 1024


class Echo:
    """A model whose websocket sends back what it gets; ``close 4001`` makes it close, a path may refuse."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.codes: asyncio.Queue[int] = asyncio.Queue()
        """Codes with which callers have closed."""
        self.opened = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await receive()
        if scope["path"] == "/refuses":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        protocol = next(iter(scope["subprotocols"][1:]), None)
        await send({"type": "websocket.accept", "subprotocol": protocol, "headers": [(b"x-model", b"1")]})
        self.opened.release()
        await self._echo(receive, send)

    async def _echo(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            if text is not None and text.startswith("close "):
                await send({"type": "websocket.close", "code": int(text.removeprefix("close "))})
                return
            await send({"type": "websocket.send", **{key: message[key] for key in ("text", "bytes") if key in message}})
        self.codes.put_nowait(message["code"])


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
async def address(tmp_path: Path, model: Echo) -> AsyncIterator[OwnAddress]:
    async with serving_model(tmp_path, model) as serving:
        yield serving


async def refusal(session: aiohttp.ClientSession, url: str, **options: Any) -> aiohttp.WSServerHandshakeError:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(url, **options)
    return refused.value


async def test_no_compression_lets_a_small_message_take_the_memory_of_a_large_one(address: OwnAddress) -> None:
    async with address.session() as session, session.ws_connect(f"{address.url}/x", compress=15) as socket:
        assert not socket.compress


async def test_text_and_bytes_pass_both_ways(address: OwnAddress) -> None:
    async with address.session() as session, session.ws_connect(f"{address.url}/x") as socket:
        for text in ("hello", "", "caf\u00e9 \u4f60\u597d \U0001f600", "x" * 100_000):
            await socket.send_str(text)
            assert await socket.receive_str(timeout=SOON) == text
        for content in (b"\0\xff", b"", bytes(range(256)) * 400):
            await socket.send_bytes(content)
            assert await socket.receive_bytes(timeout=SOON) == content


async def test_a_websocket_opens_where_the_host_names_the_model(address: OwnAddress, model: Echo) -> None:
    async with address.session() as session:
        headers = {"Host": address.by_host}
        async with session.ws_connect(f"http://{address.host}/a%2Fb?c=d", headers=headers) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=SOON) == "hello"
    assert (model.scopes[0]["raw_path"], model.scopes[0]["query_string"]) == (b"/a%2Fb", b"c=d")


async def test_a_handshake_that_speaks_of_a_body_has_none(address: OwnAddress, model: Echo) -> None:
    async with address.session() as session:
        async with asyncio.timeout(SOON), session.ws_connect(f"{address.url}/x", headers={"Content-Length": "3"}):
            assert b"content-length" not in dict(model.scopes[0]["headers"])


async def test_a_large_message_passes_whole(address: OwnAddress) -> None:
    async with address.session() as session, session.ws_connect(f"{address.url}/x", max_msg_size=0) as socket:
        await socket.send_bytes(b"x" * LARGE)
        assert len(await socket.receive_bytes(timeout=SOON)) == LARGE


async def test_the_model_chooses_the_subprotocol(address: OwnAddress, model: Echo) -> None:
    async with address.session() as session:
        async with session.ws_connect(f"{address.url}/x", protocols=("a", "b", "c")) as socket:
            assert socket.protocol == "b"
        async with session.ws_connect(f"{address.url}/x") as socket:
            assert socket.protocol is None
    assert model.scopes[0]["subprotocols"] == ["a", "b", "c"]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 3000, 4001, 4999])
async def test_the_close_code_of_the_model_reaches_the_caller(address: OwnAddress, code: int) -> None:
    async with address.session() as session, session.ws_connect(f"{address.url}/x") as socket:
        await socket.send_str(f"close {code}")
        message = await socket.receive(timeout=SOON)
        assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, code)
    await address.free()


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4001])
async def test_the_close_code_of_the_caller_reaches_the_model(
    address: OwnAddress, model: Echo, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with address.session() as session:
        socket = await session.ws_connect(f"{address.url}/x")
        await socket.close(code=code)
    assert await asyncio.wait_for(model.codes.get(), SOON) == code
    await address.free()
    assert "failed" not in caplog.text


async def test_a_caller_that_vanishes_ends_the_work_on_the_replica(address: OwnAddress, model: Echo) -> None:
    async with address.session() as session:
        socket = await session.ws_connect(f"{address.url}/x")
        await asyncio.wait_for(model.opened.acquire(), SOON)
        assert address.in_flight == 1
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
        assert await asyncio.wait_for(model.codes.get(), SOON) in (1000, 1001)
    await address.free()


async def test_a_refusal_of_the_model_has_its_status_and_is_unmarked(address: OwnAddress) -> None:
    async with address.session() as session:
        refused = await refusal(session, f"{address.url}/refuses")
        assert (refused.status, refused.headers is not None) == (418, True)
        assert refused.headers is not None
        assert "X-Atelier-Error" not in refused.headers
    await address.free()


async def test_a_model_without_websockets_refuses_one(tmp_path: Path) -> None:
    async def closes(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1000})

    async with serving_model(tmp_path, closes) as address, address.session() as session:
        assert (await refusal(session, f"{address.url}/x")).status == 403


async def test_a_websocket_needs_a_key(address: OwnAddress, model: Echo) -> None:
    async with address.session(None) as session:
        refused = await refusal(session, f"{address.url}/x")
        assert (refused.status, refused.headers and refused.headers["X-Atelier-Error"]) == (401, "UNAUTHORIZED")
        refused = await refusal(session, f"{address.url}/x", headers=address.key(Role.VIEWER))
        assert (refused.status, refused.headers and refused.headers["X-Atelier-Error"]) == (403, "FORBIDDEN")
        refused = await refusal(session, f"{address.url}/metrics", headers=address.key(Role.VIEWER))
        assert refused.status == 403
    assert model.scopes == []


async def test_a_browsers_password_opens_a_websocket_for_pages_of_this_server_alone(address: OwnAddress) -> None:
    text = base64.b64encode(f"me:{address.texts[Role.OPERATOR]}".encode()).decode()
    headers = {"Authorization": f"Basic {text}"}
    async with address.session(None) as session:
        own = {**headers, "Origin": f"http://{address.host}"}
        async with session.ws_connect(f"{address.url}/x", headers=own):
            pass
        foreign = {**headers, "Origin": "https://evil.example"}
        assert (await refusal(session, f"{address.url}/x", headers=foreign)).status == 403


async def test_no_key_reaches_the_model(address: OwnAddress, model: Echo) -> None:
    async with address.session() as session:
        headers = {"Cookie": "a=b", "X-Forwarded-For": "1.1.1.1", "X-Mine": "1"}
        async with session.ws_connect(f"{address.url}/x", headers=headers):
            pass
    named = {name for name, _ in model.scopes[0]["headers"]}
    assert {b"x-api-key", b"authorization", b"cookie", b"x-forwarded-for"}.isdisjoint(named)
    assert dict(model.scopes[0]["headers"])[b"x-mine"] == b"1"
    assert [value for name, value in model.scopes[0]["headers"] if name == b"host"] == [address.host.encode()]


async def test_a_websocket_of_no_model_is_not_found(address: OwnAddress) -> None:
    async with address.session() as session:
        refused = await refusal(session, f"http://{address.host}/models/nothing/x")
        assert (refused.status, refused.headers and refused.headers["X-Atelier-Error"]) == (404, "MODEL_NOT_FOUND")
        assert (await refusal(session, f"http://{address.host}/models/A/x")).status == 404


async def test_an_option_that_means_nothing_opens_no_websocket(address: OwnAddress, model: Echo) -> None:
    async with address.session() as session:
        refused = await refusal(session, f"{address.url}/x", headers={"X-Atelier-Timeout": "never"})
    assert (refused.status, model.scopes) == (400, [])


async def test_an_open_websocket_says_which_revision_it_reached(address: OwnAddress) -> None:
    async with address.session() as session, session.ws_connect(f"{address.url}/x") as socket:
        headers = socket._response.headers
        assert headers["X-Atelier-Revision"] == "1"
        assert "X-Request-ID" in headers


async def test_a_websocket_holds_its_slot_until_it_is_closed(tmp_path: Path, model: Echo) -> None:
    async with serving_model(tmp_path, model, concurrency=1) as address, address.session() as session:
        first = await session.ws_connect(f"{address.url}/x")
        second = asyncio.create_task(session.ws_connect(f"{address.url}/x"))
        await asyncio.sleep(0.1)
        assert (second.done(), address.in_flight) == (False, 1)
        await first.close()
        async with asyncio.timeout(SOON):
            await (await second).close()
        await address.free()


async def test_a_websocket_of_a_replica_that_ends_is_closed_so_that_its_caller_connects_again(tmp_path: Path) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        writer.write(_accepted(key))
        await reader.read(100)
        writer.transport.abort()

    async with own_address(tmp_path) as address, await asyncio.start_server(breaks, "127.0.0.1", 0) as server:
        async with replica_of(Recorder()) as like, address.session() as session:
            port = server.sockets[0].getsockname()[1]
            address.learn(SERVED, replace(like, address=f"http://127.0.0.1:{port}"))
            socket = await session.ws_connect(f"{address.url}/x")
            await socket.send_str("end")
            await socket.receive(timeout=SOON)
            assert socket.close_code == 1012
        await address.free()


def _accepted(key: str) -> bytes:
    told = base64.b64encode(sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {told}\r\n\r\n"
    ).encode()


async def test_a_silent_websocket_is_closed(tmp_path: Path, model: Echo) -> None:
    async with serving_model(tmp_path, model, stream_seconds=0.5) as address, address.session() as session:
        async with session.ws_connect(f"{address.url}/x") as socket:
            for _ in range(4):
                await asyncio.sleep(0.3)
                await socket.send_str("still here")
                assert await socket.receive_str(timeout=SOON) == "still here"
            await socket.receive(timeout=SOON)
            assert socket.close_code == 1001
        await address.free()


async def test_websockets_are_counted_when_they_are_closed(address: OwnAddress) -> None:
    async with address.session() as session:
        async with session.ws_connect(f"{address.url}/x"):
            pass
        await refusal(session, f"{address.url}/refuses")
    async with asyncio.timeout(SOON):
        while len(address.counted) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    route = "/models/{model_id}"
    assert sorted(address.counted) == [(route, "WEBSOCKET", 101), (route, "WEBSOCKET", 418)]
    assert "WEBSOCKET" in counters.METHODS


async def test_many_websockets_free_their_places_among_the_connections(address: OwnAddress) -> None:
    async with address.session() as session:
        sockets = [await session.ws_connect(f"{address.url}/x") for _ in range(5)]
        assert len(address.crowd.members) >= 5
        for number, socket in enumerate(sockets):
            if number % 2:
                await socket.close()
            else:
                socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await refusal(session, f"{address.url}/refuses")
        await refusal(session, f"http://{address.host}/models/nothing/x")
    await address.free()
    async with asyncio.timeout(SOON):
        while address.crowd.members:  # noqa: ASYNC110 - the crowd has no event for it
            await asyncio.sleep(0.01)
    assert not address.crowd.addresses
