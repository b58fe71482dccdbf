"""What a replica says of itself, and what is believed of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from management.backends.replica import probe
from management.backends.replica.host import STATE, proof_of
from management.backends.replica.probe import MOST_BYTES, ProbeAnswer

TOKEN = b"secret"


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
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def proven(**told: object) -> Callable[[str], bytes]:
    """With the right proof, and whatever else."""

    def body(nonce: str) -> bytes:
        return json.dumps({"proof": proof_of(TOKEN, nonce.encode()), **told}).encode()

    return body


async def test_who_proves_itself_is_believed() -> None:
    async with saying(proven(ready=True, in_flight=3)) as url:
        assert await probe.at(url, TOKEN) == ProbeAnswer(ready=True, in_flight=3)
        assert await probe.at(url, b"another") is None


@pytest.mark.parametrize(
    "told", [{}, {"ready": "yes", "in_flight": "many"}, {"ready": 1, "in_flight": None}, {"in_flight": [1]}]
)
async def test_what_it_says_otherwise_is_not_ready(told: dict[str, object]) -> None:
    async with saying(proven(**told)) as url:
        assert await probe.at(url, TOKEN) == ProbeAnswer(ready=False, in_flight=0)


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
async def test_what_nobody_can_read_is_nobody(body: bytes) -> None:
    async with saying(lambda _: body) as url:
        assert await probe.at(url, TOKEN) is None


async def test_it_leads_nowhere_and_is_not_unpacked() -> None:
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
        assert await probe.at(url, TOKEN) is None
    assert asked == [STATE]
    async with serving(packed) as url:
        assert await probe.at(url, TOKEN) is None


async def test_where_nobody_listens_that_is_said() -> None:
    async with saying(proven()) as url:
        pass
    with pytest.raises(ConnectionError):
        await probe.at(url, TOKEN)
