"""Models whose own address requires no key: who passes, who does not, and what is still not told."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from management.domain.keys import Role
from management.domain.records import Deletion, Deployment, Replica
from tests.doubles.asgi import read, respond
from tests.doubles.own_address import ASLEEP, BENTO, MODEL, SERVED, OwnAddress, own_address, replica_of
from web.documentation import KEY_SCHEME

PREFIX = f"/models/{MODEL}"
FOREIGN = ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors")


class Both:
    """A model that answers requests, and echoes the first message of a websocket."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await read(receive)
            await respond(send, body=b"answer")
            return
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})


@pytest.fixture
def model() -> Both:
    return Both()


@pytest.fixture
async def ready(model: Both) -> AsyncIterator[Replica]:
    async with replica_of(model) as started:
        yield started


@pytest.fixture
async def address(tmp_path: Path, ready: Replica) -> AsyncIterator[OwnAddress]:
    async with own_address(tmp_path) as serving:
        serving.learn(opened(SERVED), ready)
        yield serving


def opened(deployment: Deployment) -> Deployment:
    config = replace(deployment.target.config, access_authorization=False)
    return replace(deployment, target=replace(deployment.target, config=config))


def basic(text: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"anyone:{text}".encode()).decode()


async def ask(
    address: OwnAddress, *lines: str, target: str = f"{PREFIX}/x", host: str = "", method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    head = "\n".join((f"{method} {target} HTTP/1.1", f"Host: {host or address.host}", *lines))
    status, headers, body = await address.send(head)
    return status, dict(headers), body


async def test_an_open_model_answers_everybody_on_every_path_and_by_its_host(address: OwnAddress, model: Both) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert (await ask(address, method=method))[0] == 200
    for target in (PREFIX, f"{PREFIX}/", f"{PREFIX}/metrics"):
        assert (await ask(address, target=target))[0] == 200
    assert (await ask(address, target="/x", host=address.by_host))[0] == 200
    assert len(model.scopes) == 8


async def test_a_websocket_of_an_open_model_needs_no_key_and_one_of_another_does(
    address: OwnAddress, ready: Replica
) -> None:
    async with address.session(None) as session:
        async with session.ws_connect(f"{address.url}/ws") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{address.url}/ws", headers={"X-API-Key": "wrong"})
        assert refused.value.status == 401
        address.learn(SERVED, ready)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{address.url}/ws")
        assert refused.value.status == 401


async def test_a_wrong_key_is_refused_and_counted(address: OwnAddress, model: Both) -> None:
    wrong = ["X-API-Key: wrong-key-1", "Authorization: Bearer wrong-key-1", basic("wrong-key-1"), "X-API-Key: x"]
    assert [(await ask(address, line))[0] for line in wrong] == [401, 401, 401, 429]
    assert model.scopes == []
    assert (await ask(address))[0] == 200, "who has no key tries none"


@pytest.mark.parametrize("role", Role)
async def test_any_key_is_good_enough_and_is_not_passed_on(address: OwnAddress, model: Both, role: Role) -> None:
    for line in (f"X-API-Key: {address.texts[role]}", basic(address.texts[role])):
        assert (await ask(address, line, method="POST"))[0] == 200
    names = {name for scope in model.scopes for name, _ in scope["headers"]}
    assert not names & {b"x-api-key", b"authorization"}


async def test_pages_of_other_sites_may_call_an_open_model(address: OwnAddress) -> None:
    assert (await ask(address, *FOREIGN, method="POST"))[0] == 200
    assert (await ask(address, *FOREIGN, basic(address.texts[Role.OPERATOR]), method="POST"))[0] == 200


async def test_a_browser_is_asked_for_nothing(address: OwnAddress) -> None:
    status, headers, _ = await ask(address, "Accept: text/html")
    assert (status, "www-authenticate" in headers) == (200, False)


async def test_other_models_and_none_look_the_same_without_a_key(address: OwnAddress, ready: Replica) -> None:
    """Also one that is being deleted, whose id is free again soon."""
    answers = []
    for deployment, target in (
        (opened(SERVED), "/models/other/x"),
        (opened(SERVED), "/models/hellooo"),
        (opened(SERVED), "/models/"),
        (SERVED, f"{PREFIX}/x"),
        (replace(opened(SERVED), deletion=Deletion.GRACEFUL), f"{PREFIX}/x"),
    ):
        address.learn(deployment, ready)
        answers.append(await ask(address, target=target))
    assert {status for status, _, _ in answers} == {401}
    assert {headers["x-atelier-error"] for _, headers, _ in answers} == {"UNAUTHORIZED"}
    assert (await ask(address, target="/x", host="other.models.localhost"))[0] == 401


async def test_a_path_that_only_looks_like_one_of_an_open_model_passes_as_what_it_is(
    address: OwnAddress, model: Both
) -> None:
    for target in ("/models//hello/x", "/models/other/../hello/x", "/models/%68ello/x", "/MODELS/hello/x"):
        assert (await ask(address, target=target))[0] in (400, 401, 404), target
    assert model.scopes == []


async def test_an_open_model_that_sleeps_is_woken_without_a_key(address: OwnAddress, ready: Replica) -> None:
    address.learn(opened(ASLEEP))

    async def wake() -> None:
        address.learn(opened(SERVED), ready)

    address.surroundings.wake = wake
    assert ((await ask(address))[0], address.surroundings.awoken) == (200, [MODEL])


async def test_a_model_is_closed_again_with_the_next_request(address: OwnAddress, ready: Replica) -> None:
    assert (await ask(address))[0] == 200
    address.learn(SERVED, ready)
    assert (await ask(address))[0] == 401


async def test_the_target_decides_while_an_update_rolls_out(address: OwnAddress, ready: Replica) -> None:
    target = replace(SERVED.target, number=2)
    old = replace(ready, id="old", revision=opened(SERVED).target)
    address.learn(replace(SERVED, target=target), old)
    assert (await ask(address))[0] == 401


@pytest.mark.parametrize("is_open", [True, False])
async def test_the_documentation_asks_for_a_key_where_one_is_needed(
    address: OwnAddress, ready: Replica, *, is_open: bool
) -> None:
    document = {"openapi": "3.0.2", "paths": {}, "components": {"schemas": {}}}
    address.surroundings.bento = replace(BENTO, openapi=document, paths_complete=True)
    address.learn(opened(SERVED) if is_open else SERVED, ready)
    async with address.session() as session, session.get(f"{address.url}/docs/openapi.json") as answer:
        shown = await answer.json()
    assert ("security" in shown) is not is_open
    assert (KEY_SCHEME in shown["components"].get("securitySchemes", {})) is not is_open
