"""Connections of callers who mean harm, or do not read, on a real uvicorn: each ends, and who is refused is told so."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.doubles.asgi import Echoes, read, serving
from web.edge.middleware import Edge, Limits
from web.server import crowd, lingering, uvicorn_protocol
from web.server.uvicorn_protocol import configure_connections
from web.settings import Settings, settings

MIB = 1024 * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def configured(monkeypatch: pytest.MonkeyPatch, **values: Any) -> Iterator[None]:
    """The connections of uvicorns that start in the block."""
    monkeypatch.setattr(uvicorn_protocol, "settings", lambda: Settings(**values))
    configure_connections(60)
    yield


class Large:
    """Answers with 8 MiB, piece by piece."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(128):
            await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def unread(port: int) -> socket.socket:
    """A connection whose system takes little of what is sent to it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


async def emptied(auto: Any) -> None:
    """Returns when the server has let go of every connection that came."""
    members = auto.AutoHTTPProtocol.crowd.members
    async with asyncio.timeout(30):
        while not members:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        while members:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.05)


async def test_callers_who_pipeline_and_never_read_are_closed(
    auto: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with configured(monkeypatch, write_seconds=0.3):
        async with serving(Large()) as port:
            callers = [unread(port) for _ in range(10)]
            for one in callers:
                one.send(REQUEST * 20)
            await emptied(auto)
            for one in callers:
                one.close()
    assert not caplog.records  # nothing is written to a connection that is gone


async def test_a_caller_who_reads_slowly_but_reads_gets_all_of_a_large_answer(
    auto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with configured(monkeypatch, write_seconds=0.4):
        async with serving(Large()) as port:
            caller, size = unread(port), 0
            caller.send(REQUEST)
            while size < MIB:  # for several times as long as nothing may be read
                size += len(await asyncio.get_running_loop().sock_recv(caller, 256 * 1024))
                await asyncio.sleep(0.02)
            while size < 8 * MIB:
                size += len(await asyncio.get_running_loop().sock_recv(caller, MIB))
            caller.close()


async def test_an_answer_that_waits_after_its_end_for_a_caller_who_never_reads_is_given_up(
    auto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": bytes(8 * MIB)})

    with configured(monkeypatch, write_seconds=0.3):
        async with serving(app) as port:
            caller = unread(port)
            caller.send(REQUEST)
            await emptied(auto)
            caller.close()


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> bytes:
    return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).split(b" ")[1]


async def test_connections_that_only_wait_make_room_for_who_asks(auto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with configured(monkeypatch, connections=20, connections_per_address=20):
        async with serving(Echoes()) as port, AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(opened(port)) for _ in range(60)]
            for _ in range(5):
                reader, writer = await stack.enter_async_context(opened(port))
                writer.write(REQUEST)
                assert await _status(reader) == b"200"
            assert await _status(idle[0][0]) == b"503"  # never asked, and answered all the same
            assert len(auto.AutoHTTPProtocol.crowd.members) <= 20


async def test_connections_that_ask_for_a_websocket_take_no_room(auto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    request = b"GET /echo HTTP/1.1\r\nHost: x\r\n" + upgrade + b"Sec-WebSocket-Key: " + b"a" * 22 + b"==\r\n\r\n"
    with configured(monkeypatch, connections=16):
        async with serving(edge(Echoes())) as port:
            for _ in range(40):
                async with opened(port) as (reader, writer):
                    writer.write(request)
                    assert await _status(reader) == b"403"
            assert not auto.AutoHTTPProtocol.crowd.members


async def test_who_finds_no_room_is_told_so_and_when_to_come_again(auto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    with configured(monkeypatch, connections=20, connections_per_address=20):
        async with serving(works) as port, AsyncExitStack() as stack:
            busy = [await stack.enter_async_context(opened(port)) for _ in range(20)]
            for _, writer in busy:
                writer.write(REQUEST)
            await asyncio.sleep(0.2)
            answer = await asyncio.to_thread(_asked, port, b"")
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert int(answer.headers["retry-after"]) > 0
            assert answer.code == "OVERLOADED"
            release.set()
            assert [await _status(reader) for reader, _ in busy] == [b"200"] * 20
            assert (await asyncio.to_thread(_asked, port, b"")).status == 200


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Message
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


def _asked(port: int, body: bytes, **headers: str) -> Answered:
    """What Python's own client is answered: it sends all before it reads."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request("POST", "/echo", body, headers)
        answer = client.getresponse()
        return Answered(answer.status, dict(answer.headers), answer.read())


async def test_one_address_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Member(crowd.Admission):
        pass

    found = crowd.Crowd(limit=8, per_address=6)
    for _ in range(6):
        found.enter(Member(), "192.0.2.1")
    assert not found.admits("192.0.2.1")
    assert found.admits("192.0.2.2")


def test_the_bound_leaves_descriptors_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft in (256, 1024, 4096, 20_000, 1_048_576):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        most = crowd.bound()
        assert most + most // 8 + most < soft
        assert (
            soft - 2 * most >= soft // 4
            or most == crowd.MAX_CONNECTIONS
            or soft - 2 * most >= crowd.RESERVED_DESCRIPTORS
        )


def test_a_low_soft_limit_of_descriptors_is_raised_as_far_as_is_needed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(1024, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        crowd.raise_descriptors()
        raised, kept = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert kept == hard
        assert raised == hard or crowd.bound() == crowd.MAX_CONNECTIONS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Bodies on their way when the answer is known


def edge(app: Any, body_bytes: int = 16 * MIB) -> Edge:
    limits = Limits(body_bytes=body_bytes, request_seconds=60, body_seconds=60)
    return Edge(app, name="cats", limits=limits, routes=lambda scope: scope["path"] == "/echo")


@pytest.mark.parametrize("kept", ["keep-alive", "close"])
async def test_a_client_that_sends_17_mib_before_it_reads_gets_its_413(auto: Any, kept: str) -> None:
    configure_connections(10)
    async with serving(edge(Echoes())) as port:
        for _ in range(3):
            answer = await asyncio.to_thread(_asked, port, bytes(17 * MIB), Connection=kept)
            assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("status", [401, 404, 415, 429, 503])
async def test_so_does_one_who_is_refused_before_the_body_is_read(auto: Any, status: int) -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    configure_connections(10)
    async with serving(edge(refuses)) as port:
        answer = await asyncio.to_thread(_asked, port, bytes(8 * MIB), Connection="close")
        assert answer.status == status


async def test_no_more_than_a_bounded_amount_is_dropped(auto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_BYTES", 4 * MIB)
    configure_connections(10)
    async with serving(edge(Echoes(), body_bytes=100)) as port, opened(port) as (reader, writer):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999999999\r\n\r\n")
        assert await _status(reader) == b"413"
        with pytest.raises(ConnectionError):
            await _pour(writer, 1000)


async def _pour(writer: asyncio.StreamWriter, mebibytes: int) -> None:
    for _ in range(mebibytes):
        writer.write(bytes(MIB))
        await asyncio.wait_for(writer.drain(), 30)


MALFORMED = {
    "a size that is none": b"zz\r\nabc\r\n0\r\n\r\n",
    "a size too large": b"f" * 40 + b"\r\nabc\r\n",
    "no line's end after a piece": b"3\r\nabcdef\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("chunks", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_chunked_body_gets_400_and_leaves_no_traceback(
    auto: Any, chunks: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    configure_connections(10)
    with caplog.at_level(logging.INFO):
        async with serving(edge(reads)) as port, opened(port) as (reader, writer):
            writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await asyncio.sleep(0.05)
            writer.write(chunks)
            answer = await asyncio.wait_for(reader.read(), 30)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "INVALID_INPUT"
    assert not [record for record in caplog.records if record.exc_info]


# Whom a request comes from


async def test_a_forwarding_header_is_believed_of_named_proxies_alone(
    auto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trusted, expected in (("", "127.0.0.1"), ("127.0.0.1", "192.0.2.9")):
        app = Echoes()
        with configured(monkeypatch, trusted_proxies=trusted):
            async with serving(app) as port:
                await asyncio.to_thread(_asked, port, b"", **{"X-Forwarded-For": "192.0.2.9"})
                assert app.scope["client"][0] == expected


async def test_head_is_answered_wherever_get_is(auto: Any) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        message: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
        await send(message)
        await send({"type": "http.response.body", "body": b"hello"})

    configure_connections(10)
    async with serving(edge(page)) as port, opened(port) as (reader, writer):
        writer.write(b"HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 30)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 5" in head
    assert body == b""


def test_the_settings_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies="everyone")
    assert settings().trusted_proxies == ""
