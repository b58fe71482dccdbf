"""The outermost layer on a real uvicorn, spoken to byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import ASGIApp

from tests.doubles.asgi import PIECE, START, Detaches, Echoes, Raises, serving
from web.edge.middleware import Edge, Limits

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Connection:
    """One connection to the layer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of an answer that says how long it is."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return int(head.split()[1]), head, await self.reader.readexactly(int(length.split(b":")[1]))

    async def refused(self) -> tuple[int, str]:
        status, _, body = await self.hear()
        return status, json.loads(body)["code"]


@asynccontextmanager
async def connection(app: ASGIApp, body_seconds: float = 60) -> AsyncIterator[Connection]:
    limits = Limits(body_bytes=100_000, request_seconds=60, body_seconds=body_seconds)
    layer = Edge(app, name="cats", limits=limits, routes=lambda scope: scope["path"] == "/echo")
    async with serving(layer) as port, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield Connection(reader, writer)
        writer.close()


async def test_a_large_body_is_refused_so_that_a_caller_who_sends_all_of_it_first_can_read_why() -> None:
    async with connection(Echoes()) as client:
        await client.say(HEAD + b"Content-Length: 8000000\r\n\r\n" + b"a" * 8_000_000)
        assert await client.refused() == (413, "PAYLOAD_TOO_LARGE")
        await client.say(HEAD + b"Content-Length: 2\r\n\r\nok")
        assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_chunked_body_is_refused_when_it_passes_the_limit_and_the_connection_lives_on() -> None:
    async with connection(Detaches(Echoes())) as client:
        await client.say(CHUNKED + b"186a1\r\n" + b"a" * 100_001 + b"\r\n")
        assert await client.refused() == (413, "PAYLOAD_TOO_LARGE")
        await client.say(b"0\r\n\r\n" + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.refused() == (404, "NOT_FOUND")


async def test_a_body_that_stays_out_is_refused_and_the_connection_closed() -> None:
    async with connection(Echoes(), body_seconds=0.1) as client:
        await client.say(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        assert await client.refused() == (408, "REQUEST_TIMEOUT")
        assert await client.reader.read() == b""


async def test_an_answer_that_breaks_off_reaches_the_caller_as_broken(caplog: pytest.LogCaptureFixture) -> None:
    async with connection(Raises(START, PIECE)) as client:
        await client.say(HEAD + b"Content-Length: 0\r\n\r\n")
        answer = await client.reader.read()
        assert b"200 OK" in answer
        assert b"half" in answer
        assert b"0\r\n\r\n" not in answer


async def test_a_caller_who_leaves_in_the_middle_of_a_body_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connection(Echoes()) as client:
        await client.say(HEAD + b"Content-Length: 10\r\n\r\nhalf")
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_error_answer_to_head_leaves_the_connection_in_step() -> None:
    async with connection(Echoes()) as client:
        await client.say(b"HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"404" in await client.reader.readuntil(b"\r\n\r\n")
        await client.say(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.refused() == (404, "NOT_FOUND")


async def test_a_websocket_is_refused() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    async with connection(Echoes()) as client:
        await client.say(
            b"GET /echo HTTP/1.1\r\nHost: x\r\n" + upgrade + b"Sec-WebSocket-Key: " + b"a" * 22 + b"==\r\n\r\n"
        )
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403")
