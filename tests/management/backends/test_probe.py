"""What a replica says of itself, and what is believed of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from management.backends.replica import probe
from management.backends.replica.host import STATE, proof_of
from management.backends.replica.probe import MOST_BYTES, NotObserved, ProbeAnswer, ProbeClient

TOKEN = b"secret"


@pytest.fixture
async def probes() -> AsyncIterator[ProbeClient]:
    """Probes, closed at the end."""
    one = ProbeClient()
    yield one
    await one.close()


@asynccontextmanager
async def saying(body: Callable[[str], bytes]) -> AsyncIterator[str]:
    """A replica that answers a nonce with these bytes; its URL."""

    async def state(request: web.Request) -> web.Response:
        return web.Response(body=body(request.query["nonce"]), content_type="application/json")

    async with serving(state) as url:
        yield url


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server; its URL."""
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(peer: Peer, port: int = 0) -> AsyncIterator[tuple[str, web.TCPSite]]:
    """A server of the peer; its URL, and what listens for connections."""
    application = web.Application()
    application.router.add_get(STATE, peer.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", site
    finally:
        await runner.cleanup()


def proven(**told: object) -> Callable[[str], bytes]:
    """With the right proof, and whatever else."""

    def body(nonce: str) -> bytes:
        return json.dumps({"proof": proof_of(TOKEN, nonce.encode()), **told}).encode()

    return body


async def test_who_proves_itself_is_believed(probes: ProbeClient) -> None:
    async with saying(proven(ready=True, in_flight=3)) as url:
        assert await probes.at(url, TOKEN) == ProbeAnswer(ready=True, in_flight=3)
        assert await probes.at(url, b"another") is None


@pytest.mark.parametrize(
    "told", [{}, {"ready": "yes", "in_flight": "many"}, {"ready": 1, "in_flight": None}, {"in_flight": [1]}]
)
async def test_what_it_says_otherwise_is_not_ready(told: dict[str, object], probes: ProbeClient) -> None:
    async with saying(proven(**told)) as url:
        assert await probes.at(url, TOKEN) == ProbeAnswer(ready=False, in_flight=0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b"[]",
        b"null",
        b'"proof"',
        b"[" * MOST_BYTES,
        b"{}" + b" " * 64 * MOST_BYTES,
        b"\xff",
        b'{"proof": NaN}',
    ],
    ids=["nothing", "no JSON", "a list", "null", "a text", "deep", "long", "no text", "no number"],
)
async def test_what_nobody_can_read_is_nobody(body: bytes, probes: ProbeClient) -> None:
    async with saying(lambda _: body) as url:
        assert await probes.at(url, TOKEN) is None


async def test_it_leads_nowhere_and_is_not_unpacked(probes: ProbeClient) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == STATE:
            raise web.HTTPFound("/elsewhere")
        return web.Response()

    async def packed(request: web.Request) -> web.Response:
        body = gzip.compress(proven(ready=True)(request.query["nonce"]))
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with serving(answer) as url:
        assert await probes.at(url, TOKEN) is None
    assert asked == [STATE]
    async with serving(packed) as url:
        assert await probes.at(url, TOKEN) is None


async def test_where_nobody_listens_that_is_said(probes: ProbeClient) -> None:
    async with saying(proven()) as url:
        pass
    with pytest.raises(ConnectionError):
        await probes.at(url, TOKEN)


class Peer:
    """A replica on a port: its connections, and what it answers."""

    def __init__(self) -> None:
        self.connections: set[object] = set()
        self.answers = 0
        self.token = TOKEN
        self.mute = False

    async def answer(self, request: web.Request) -> web.Response:
        """The state, with the proof."""
        self.connections.add(request.transport)
        self.answers += 1
        if self.mute:
            await asyncio.Event().wait()
        proof = proof_of(self.token, request.query["nonce"].encode())
        return web.json_response({"proof": proof, "ready": True})


READY = ProbeAnswer(ready=True, in_flight=0)


async def test_a_connection_serves_many_probes_until_it_is_old(
    probes: ProbeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer()
    async with serving(peer.answer) as url:
        for _ in range(3):
            assert await probes.at(url, TOKEN) == READY
        assert len(peer.connections) == 1
        monkeypatch.setattr(probe, "KEPT_SECONDS", 0.0)
        assert await probes.at(url, TOKEN) == READY
        assert len(peer.connections) == 2


async def test_a_replica_that_takes_no_new_connections_is_found_out(
    probes: ProbeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer()
    async with listening(peer) as (url, listener):
        assert await probes.at(url, TOKEN) == READY
        await listener.stop()
        assert await probes.at(url, TOKEN) == READY, "its connection is kept"
        monkeypatch.setattr(probe, "KEPT_SECONDS", 0.0)
        with pytest.raises(ConnectionError):
            await probes.at(url, TOKEN)


async def test_a_probe_under_way_keeps_the_connections_that_others_replace(
    probes: ProbeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await may_answer.wait()
        return web.json_response({"proof": proof_of(TOKEN, request.query["nonce"].encode()), "ready": True})

    async with serving(slow) as url, saying(proven(ready=True)) as other:
        first = asyncio.create_task(probes.at(url, TOKEN))
        await asked.wait()
        monkeypatch.setattr(probe, "KEPT_SECONDS", 0.0)
        assert await probes.at(other, TOKEN) == READY
        may_answer.set()
        assert await first == READY


async def test_another_process_at_the_same_address_is_not_taken_for_it(probes: ProbeClient) -> None:
    peer, other = Peer(), Peer()
    other.token = b"another"
    async with listening(peer) as (url, _):
        assert await probes.at(url, TOKEN) == READY
    async with listening(other, int(url.rpartition(":")[2])) as (_, __):
        assert await probes.at(url, TOKEN) is None
        assert await probes.at(url, b"another") == READY
    with pytest.raises(ConnectionError):
        await probes.at(url, b"another")


async def test_one_that_falls_silent_on_a_kept_connection_is_silent(
    probes: ProbeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer()
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    async with serving(peer.answer) as url:
        assert await probes.at(url, TOKEN) == READY
        peer.mute = True
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await probes.at(url, TOKEN)
        monkeypatch.setattr(probe, "LATE_SECONDS", 0.1)
        with pytest.raises(NotObserved):
            await probes.at(url, TOKEN)
        peer.mute = False
        assert await probes.at(url, TOKEN) == READY


async def test_the_rest_of_a_long_answer_is_not_the_answer_to_the_next_probe(probes: ProbeClient) -> None:
    long = True

    def body(nonce: str) -> bytes:
        return b" " * 1024 * MOST_BYTES if long else proven(ready=True)(nonce)

    async with saying(body) as url:
        assert await probes.at(url, TOKEN) is None
        long = False
        assert await probes.at(url, TOKEN) == READY


async def test_no_connection_is_left_open(probes: ProbeClient) -> None:
    peer = Peer()
    async with serving(peer.answer) as url:
        assert await probes.at(url, TOKEN) == READY
        (transport,) = peer.connections
        assert isinstance(transport, asyncio.Transport)
        await probes.close()
        while not transport.is_closing():  # noqa: ASYNC110 - a transport has no event
            await asyncio.sleep(0.01)
