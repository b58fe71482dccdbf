"""A call reaches the replica that it is for, whatever its target is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from aiohttp import web

from management.gateway.call import Call, Handshake
from management.gateway.replica_client import ReplicaClient
from management.gateway.replica_errors import ReplicaFailed

T = TypeVar("T")
TOKEN = "token-of-the-replica"


def reached(act: Callable[[ReplicaClient, int], Awaitable[T]]) -> list[str | None]:
    """Return the tokens that another server received while ``act`` used a client, which is given that server's port."""
    received: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        received.append(request.headers.get("Token"))
        return web.Response()

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", note)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        client = ReplicaClient("http://127.0.0.1:1", lambda: {"Token": TOKEN})
        try:
            with pytest.raises(ReplicaFailed):
                await act(client, port)
        finally:
            await client.close()
            await runner.cleanup()

    asyncio.run(run())
    return received


@pytest.mark.parametrize("target", ["%2F@127.0.0.1:{}/x", "@127.0.0.1:{}/x"])
def test_no_target_sends_a_call_and_its_token_to_another_server(target: str) -> None:
    assert reached(lambda client, port: client.open(Call("GET", target.format(port), "/x", []))) == []


def test_no_target_opens_a_websocket_at_another_server() -> None:
    assert reached(lambda client, port: client.connect(Handshake(f"@127.0.0.1:{port}/x", "/x", []))) == []
