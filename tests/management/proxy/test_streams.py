"""Streams: each piece arrives before the next is made, and a slot is held until the end or until the caller leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from tests.doubles.own_address import OwnAddress, Pieces, Recorder, serving_model

SOON = 10.0


@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/plain", b"application/octet-stream", b"audio/wav"])
async def test_a_piece_arrives_before_the_next_is_made(tmp_path: Path, kind: bytes) -> None:
    model = Pieces(kind)
    async with serving_model(tmp_path, model) as address, address.session() as session:
        async with asyncio.timeout(SOON), session.get(f"{address.url}/x") as answer:  # the headers come at once
            for number in range(20):
                piece = f"data: {number}\n\n".encode()
                model.pieces.put_nowait(piece)
                assert await answer.content.read(len(piece)) == piece
            model.pieces.put_nowait(None)
            assert await answer.content.read() == b""


async def test_a_stream_passes_unbuffered_where_the_host_names_the_model(tmp_path: Path) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model) as address, address.session() as session:
        headers = {"Host": address.by_host}
        async with asyncio.timeout(SOON), session.get(f"http://{address.host}/x", headers=headers) as answer:
            model.pieces.put_nowait(b"data: 1\n\n")
            assert await answer.content.readany() == b"data: 1\n\n"
            model.pieces.put_nowait(None)


async def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    model = Recorder()
    model.body = bytes(range(256)) * 65536
    async with serving_model(tmp_path, model) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            assert await answer.read() == model.body


async def test_a_stream_holds_its_slot_until_its_end(tmp_path: Path) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model, concurrency=1) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            model.pieces.put_nowait(b"1")
            await answer.content.read(1)
            assert address.in_flight == 1
            second = asyncio.create_task(session.get(f"{address.url}/x").__aenter__())
            await asyncio.sleep(0.1)
            assert not second.done()
            model.pieces.put_nowait(None)
            await answer.read()
        async with asyncio.timeout(SOON):
            (await second).close()
        await address.free()


@pytest.mark.parametrize("begun", [False, True])
async def test_a_caller_that_leaves_ends_the_work_of_the_replica(tmp_path: Path, *, begun: bool) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model) as address:
        async with address.session() as session, session.get(f"{address.url}/x") as answer:
            if begun:
                model.pieces.put_nowait(b"1")
                await answer.content.read(1)
            answer.close()
        await asyncio.wait_for(model.left.wait(), SOON)
        await address.free()


async def test_a_caller_that_leaves_while_it_sends_a_body_ends_the_work(tmp_path: Path) -> None:
    left = asyncio.Event()
    begun = asyncio.Event()

    async def model(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            begun.set()
        left.set()

    async with serving_model(tmp_path, model) as address:
        _, writer = await asyncio.open_connection("127.0.0.1", address.port)
        lines = [f"POST /models/hello/x HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: 1000000"]
        lines += [f"{name}: {value}" for name, value in address.key().items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\nsome")
        await asyncio.wait_for(begun.wait(), SOON)
        writer.close()
        await asyncio.wait_for(left.wait(), SOON)
        await address.free()


@pytest.mark.parametrize("before", [b"", b"data: 1\n\n", b"data: cut"])
async def test_events_that_stop_coming_end_with_an_event_that_says_so(tmp_path: Path, before: bytes) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model, stream_seconds=0.3) as address, address.session() as session:
        async with asyncio.timeout(SOON), session.get(f"{address.url}/x") as answer:
            if before:
                model.pieces.put_nowait(before)
            told = await answer.read()
    assert told.startswith(before)
    event = told[len(before) :]
    assert event.startswith(b"\n\nevent: error\ndata: {")
    assert event.endswith(b"}\n\n")
    assert b'"MODEL_FAILED"' in event
    assert b"silent" in event
    await asyncio.wait_for(model.left.wait(), SOON)


async def test_another_stream_that_stops_is_cut_and_not_ended(tmp_path: Path) -> None:
    model = Pieces(b"text/plain")
    async with serving_model(tmp_path, model, stream_seconds=0.3) as address, address.session() as session:
        async with asyncio.timeout(SOON), session.get(f"{address.url}/x") as answer:
            model.pieces.put_nowait(b"half")
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await address.free()


class Breaks:
    """A model whose connection breaks within an answer."""

    def __init__(self, kind: bytes) -> None:
        self.kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind)]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        raise ConnectionResetError


@pytest.mark.parametrize("kind", [b"text/event-stream; charset=utf-8", b"Text/Event-Stream"])
async def test_events_of_a_replica_that_ends_end_with_an_event_that_says_so(tmp_path: Path, kind: bytes) -> None:
    async with serving_model(tmp_path, Breaks(kind)) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            told = await answer.read()
    assert told.startswith(b"data: 1\n\n\n\nevent: error\ndata: {")
    assert b"replica ended" in told


async def test_a_compressed_stream_of_events_is_cut_and_gets_no_plain_text(tmp_path: Path) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\x1f\x8b", "more_body": True})
        raise ConnectionResetError

    async with serving_model(tmp_path, breaks) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()


async def test_an_answer_of_a_replica_that_ends_is_cut(tmp_path: Path) -> None:
    async with serving_model(tmp_path, Breaks(b"application/json")) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()


async def test_a_caller_that_reads_slowly_holds_up_the_model_and_not_the_memory(tmp_path: Path) -> None:
    sent = 0

    async def model(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536
        await send({"type": "http.response.body", "body": b""})

    async with serving_model(tmp_path, model) as address, address.session() as session:
        async with session.get(f"{address.url}/x") as answer:
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.5)
            assert sent < 32 * 1024 * 1024
            total = 0
            async for piece in answer.content.iter_any():
                total += len(piece)
    assert total == 2000 * 65536


async def test_two_callers_of_one_connection_do_not_mix(tmp_path: Path) -> None:
    model = Pieces()
    async with serving_model(tmp_path, model) as address:
        async with address.session(connector=aiohttp.TCPConnector(limit=1)) as session:
            for number in range(3):
                model.pieces.put_nowait(str(number).encode())
                model.pieces.put_nowait(None)
                async with session.get(f"{address.url}/x") as answer:
                    assert await answer.text() == str(number)


async def many(address: OwnAddress, session: aiohttp.ClientSession, number: int) -> bytes:
    async with session.get(f"{address.url}/x?{number}") as answer:
        return await answer.read()


async def test_many_streams_at_once_each_get_their_own_pieces(tmp_path: Path) -> None:
    async def model(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(10):
            await send({"type": "http.response.body", "body": scope["query_string"] + b",", "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})

    async with serving_model(tmp_path, model, concurrency=64) as address, address.session() as session:
        told = await asyncio.gather(*(many(address, session, number) for number in range(60)))
    assert told == [f"{number},".encode() * 10 for number in range(60)]
