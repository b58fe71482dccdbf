"""In how many pieces an answer of a real uvicorn leaves, and that nothing of it waits for long or gets lost."""

from __future__ import annotations

import asyncio
from asyncio import selector_events
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.doubles.asgi import serving
from web.server.uvicorn_protocol import configure_connections

KEPT: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST: Final = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
MIB: Final = 1024 * 1024


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def says(*messages: Message) -> ASGIApp:
    """Sends these one after the other."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for one in messages:
            await send(one)

    return app


@pytest.fixture
def written(auto: Any, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the server handed to the system, piece by piece."""
    pieces: list[bytes] = []
    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = transport.write

    def noted(self: Any, data: bytes) -> None:
        if data.startswith(b"GET"):  # the caller's own
            write(self, data)
            return
        pieces.append(bytes(data))
        write(self, data)

    monkeypatch.setattr(transport, "write", noted)
    configure_connections(60)
    return pieces


@asynccontextmanager
async def caller(port: int, request: bytes = LAST) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which this was asked; gone at the end, whatever came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    try:
        writer.write(request)
        yield reader
    finally:
        writer.transport.abort()


async def asked(app: ASGIApp, request: bytes = LAST) -> bytes:
    """All that comes back on a connection."""
    async with serving(app) as port, caller(port, request) as reader:
        return await asyncio.wait_for(reader.read(), 10)


async def test_headers_and_body_leave_in_one_piece(written: list[bytes]) -> None:
    answer = await asked(says(start((b"content-length", b"5")), body(b"hello")))
    assert answer.endswith(b"\r\n\r\nhello")
    assert written == [answer]


async def test_so_they_do_on_a_connection_that_is_kept(written: list[bytes]) -> None:
    answer = await asked(says(start((b"content-length", b"5")), body(b"hello")), KEPT + KEPT + LAST)
    assert answer.count(b"hello") == len(written) == 3
    assert all(one.startswith(b"HTTP/1.1 200") and one.endswith(b"hello") for one in written)


async def test_an_answer_of_unknown_length_begins_with_its_first_piece(written: list[bytes]) -> None:
    answer = await asked(says(start(), body(b"hello", more=True), body(b"world", more=True), body(b"")))
    assert answer.endswith(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
    assert written[0].endswith(b"5\r\nhello\r\n")


@pytest.mark.parametrize("request_", [LAST, LAST.replace(b"GET", b"HEAD")], ids=["204", "HEAD"])
async def test_headers_alone_leave_as_well(written: list[bytes], request_: bytes) -> None:
    status = 204 if request_ is LAST else 200
    answer = await asked(says(start((b"content-length", b"0"), status=status), body(b"")), request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"\r\n\r\n")


async def test_no_piece_waits_for_one_that_is_not_there_yet(written: list[bytes]) -> None:
    heard = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for one in (start(), body(b"one", more=True), body(b"two", more=True), body(b"")):
            await send(one)
            await asyncio.wait_for(heard.wait(), 30)
            heard.clear()

    async with serving(app) as port, caller(port) as reader:
        for end in (b"\r\n\r\n", b"one\r\n", b"two\r\n", b"0\r\n\r\n"):
            await asyncio.wait_for(reader.readuntil(end), 30)
            heard.set()


async def test_a_caller_who_does_not_read_stops_the_application(written: list[bytes]) -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start((b"content-length", str(64 * MIB).encode())))
        for _ in range(64):
            await send(body(bytes(MIB), more=True))
            sent += 1
        await send(body(b""))

    async with serving(app) as port, caller(port) as reader:
        await asyncio.sleep(0.5)
        assert 0 < sent < 32
        answer = await asyncio.wait_for(reader.read(), 10)
    assert (sent, len(answer.partition(b"\r\n\r\n")[2])) == (64, 64 * MIB)


async def test_a_caller_who_leaves_before_the_second_piece_ends_nothing(written: list[bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"5")))
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await send(body(b"hello"))

    async with serving(app) as port:
        async with caller(port):
            pass
        await asyncio.sleep(0.1)
        async with caller(port) as reader:
            assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200")
