"""The header deadline on a real uvicorn. Where uvicorn has moved what it stands on, these tests fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from tests.doubles.asgi import serving
from web.server import slow_headers
from web.server.slow_headers import HeaderDeadline
from web.server.uvicorn_protocol import configure_connections

SECONDS = 0.4
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Works:
    """Answers every request with its path's number of seconds of work, without reading the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(float(scope["path"][1:] or 0))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Client:
    """One connection, and what the server says on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        self.writer.write(request)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        return head.split(b" ")[1] + b" " + await self.reader.readexactly(2)

    async def trickle(self, data: bytes) -> None:
        """Sends a byte at a time, until all are sent or the server has closed."""
        for byte in data:
            self.writer.write(bytes([byte]))
            if await self.closed_within(SECONDS / 8):
                return

    async def closed_within(self, seconds: float) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), seconds) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True


@asynccontextmanager
async def connection() -> AsyncIterator[Client]:
    async with serving(Works()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield Client(reader, writer)
        writer.close()


async def test_a_connection_that_says_nothing_is_closed(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        assert not await client.closed_within(SECONDS / 2)
        assert await client.closed_within(5)


async def test_headers_that_trickle_in_are_cut_off(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        await asyncio.wait_for(client.trickle(b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 1000), 30)


async def test_headers_that_trickle_in_on_a_kept_connection_are_cut_off(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        assert await client.ask(REQUEST) == b"200 ok"
        await asyncio.wait_for(client.trickle(b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 1000), 30)


async def test_a_body_that_goes_on_after_its_answer_is_cut_off(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        assert await client.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n") == b"200 ok"
        await asyncio.wait_for(client.trickle(b"a" * 1000), 30)


async def test_headers_that_never_end_are_cut_off(auto: Any) -> None:
    configure_connections(60)
    async with connection() as client:
        with suppress(ConnectionError):
            for _ in range(2 * slow_headers.MAX_HEADER_BYTES // 4096):
                client.writer.write(b"X-Much: " + b"a" * 4086 + b"\r\n")
                await client.writer.drain()
        with suppress(ConnectionError):  # h11 says why first
            await asyncio.wait_for(client.reader.read(), 30)
        assert client.reader.at_eof() or client.writer.is_closing()


async def test_a_kept_connection_that_waits_longer_than_that_for_its_next_request_is_served(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        assert await client.ask(REQUEST) == b"200 ok"
        assert not await client.closed_within(SECONDS * 2)
        assert await client.ask(REQUEST) == b"200 ok"


async def test_a_request_may_be_worked_on_for_longer_than_its_headers_may_take(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        assert await client.ask(b"GET /%.1f HTTP/1.1\r\nHost: x\r\n\r\n" % (SECONDS * 3)) == b"200 ok"
        assert await client.ask(REQUEST) == b"200 ok"


async def test_requests_sent_together_are_all_served(auto: Any) -> None:
    configure_connections(SECONDS)
    async with connection() as client:
        slow = b"GET /%.1f HTTP/1.1\r\nHost: x\r\n\r\n" % SECONDS
        assert await client.ask(slow * 3) == b"200 ok"
        assert await client.ask(b"") == b"200 ok"
        assert await client.ask(b"") == b"200 ok"


async def test_no_connection_is_closed_where_uvicorn_has_no_such_name_for_its_request(
    auto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_connections(SECONDS)
    monkeypatch.setattr(HeaderDeadline, "_awaits_headers", _as_if_renamed)
    async with connection() as client:
        assert not await client.closed_within(SECONDS * 2)
        assert await client.ask(REQUEST) == b"200 ok"


_awaits_headers = HeaderDeadline._awaits_headers


def _as_if_renamed(protocol: Any) -> bool:
    return _awaits_headers(SimpleNamespace(_connection=object()))  # type: ignore[arg-type]
