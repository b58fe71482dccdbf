"""What a replica says of itself, and what is believed of it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from management.backends import replica_state
from management.backends.replica_state import MOST_BYTES, Said

TOKEN = b"secret"


@asynccontextmanager
async def saying(body: Callable[[str], bytes]) -> AsyncIterator[str]:
    """A replica that answers a nonce with these bytes; its URL."""

    async def state(request: web.Request) -> web.Response:
        return web.Response(body=body(request.query["nonce"]), content_type="application/json")

    application = web.Application()
    application.router.add_get(replica_state.PATH, state)
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
        proof = hmac.new(TOKEN, nonce.encode(), hashlib.sha256).hexdigest()
        return json.dumps({"proof": proof, **told}).encode()

    return body


async def test_who_proves_itself_is_believed() -> None:
    async with saying(proven(ready=True, in_flight=3)) as url:
        assert await replica_state.at(url, TOKEN) == Said(ready=True, in_flight=3)
        assert await replica_state.at(url, b"another") is None


@pytest.mark.parametrize(
    "told", [{}, {"ready": "yes", "in_flight": "many"}, {"ready": 1, "in_flight": None}, {"in_flight": [1]}]
)
async def test_what_it_says_otherwise_is_not_ready(told: dict[str, object]) -> None:
    async with saying(proven(**told)) as url:
        assert await replica_state.at(url, TOKEN) == Said(ready=False, in_flight=0)


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
        assert await replica_state.at(url, TOKEN) is None


async def test_where_nobody_listens_that_is_said() -> None:
    async with saying(proven()) as url:
        pass
    with pytest.raises(ConnectionError):
        await replica_state.at(url, TOKEN)
