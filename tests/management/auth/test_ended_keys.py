"""Keys that end while a model is being called: a websocket ends with its key, an answer that has begun goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from management.domain.clock import now
from management.domain.keys import Role
from tests.doubles.own_address import SERVED, OwnAddress, Pieces, replica_of, serving_model

SOON = 10.0
ENDS = ["revoked", "expired", "gone"]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """A model whose websocket sends back what it gets."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def end(address: OwnAddress, role: Role, how: str) -> None:
    """Let the key of a role end; the other ones stay."""
    known = [address.keyring.find(text) for text in address.texts.values()]
    keys = [key for key in known if key is not None]
    moment, ending = now(), [key for key in keys if key.role is role]
    ended = {
        "revoked": [replace(key, revoked_at=moment) for key in ending],
        "expired": [replace(key, expires_at=moment) for key in ending],
        "gone": [],
    }
    address.keyring.learn([*ended[how], *(key for key in keys if key.role is not role)])


async def says(socket: aiohttp.ClientWebSocketResponse, text: str) -> bool:
    """Return whether the model answers."""
    await socket.send_str(text)
    return await socket.receive_str(timeout=SOON) == text


@pytest.mark.parametrize("how", ENDS)
async def test_a_websocket_ends_with_its_key_alone(tmp_path: Path, how: str) -> None:
    async with (
        serving_model(tmp_path, echo) as address,
        address.session() as one,
        address.session(Role.ADMIN) as other,
        one.ws_connect(f"{address.url}/x") as ending,
        other.ws_connect(f"{address.url}/x") as staying,
    ):
        assert await says(ending, "before")
        end(address, Role.OPERATOR, how)
        closed = await ending.receive(timeout=SOON)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        assert await says(staying, "after")
        await staying.close()
        await address.free()


async def test_a_websocket_of_an_open_model_needs_no_key_to_stay(tmp_path: Path) -> None:
    config = replace(SERVED.target.config, access_authorization=False)
    target = replace(SERVED.target, config=config)
    async with serving_model(tmp_path, echo) as address, replica_of(echo) as ready:
        address.learn(replace(SERVED, target=target, last_stable=target), ready)
        async with (
            address.session(None) as stranger,
            address.session() as known,
            stranger.ws_connect(f"{address.url}/x") as staying,
            known.ws_connect(f"{address.url}/x") as ending,
        ):
            end(address, Role.OPERATOR, "revoked")
            assert (await ending.receive(timeout=SOON)).data == 1008
            assert await says(staying, "hello")


async def test_an_answer_that_has_begun_outlives_its_key(tmp_path: Path) -> None:
    model = Pieces()
    async with (
        asyncio.timeout(6 * SOON),
        serving_model(tmp_path, model) as address,
        address.session() as session,
        session.get(f"{address.url}/x") as answer,
    ):
        end(address, Role.OPERATOR, "revoked")
        assert (await session.get(f"{address.url}/x")).status == 401
        model.pieces.put_nowait(b"data: 1\n\n")
        assert await answer.content.readany() == b"data: 1\n\n"
        model.pieces.put_nowait(None)
        assert await answer.content.read() == b""
