"""Images that users of BentoML made, with nothing of ours in them, as containers at their own addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiohttp
import bentoml
import httpx
import pytest

from tests.management.proxy.conftest import IDLE_SECONDS, deployed
from tests.management.proxy.test_clients import closed
from tests.management.proxy.test_rollout import Callers, at
from tests.support.calls import status, until
from tests.support.docker_engine import docker, user_images
from tests.support.management_servers import KEY, Management, copied_many, managing
from tests.support.victims import ready

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    user_images(copied_many(tmp_path_factory.mktemp("many")), "many", "duo")
    home = tmp_path_factory.mktemp("home")
    waits = {"BACKEND": "docker", "DRAIN_SECONDS": "3", "RETRY_SECONDS": "0.1", "IDLE_SECONDS": str(IDLE_SECONDS)}
    with managing(home, home=None, workers=1, **{f"ATELIER_{name}": value for name, value in waits.items()}) as running:
        yield running


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    with server.client(**{"Accept-Language": "en"}) as client:
        yield client
        for name in ("many", "duo"):
            client.delete(f"/models/{name}", params={"force": True, "wait": 60})


@pytest.mark.parametrize("name", ["many", "duo"])
async def test_a_users_image_is_called_at_its_own_address(server: Management, api: httpx.Client, name: str) -> None:
    deployed(api, name, image=f"users/{name}:1.0.0")
    root = f"{server.url}/models/{name}"
    async with bentoml.AsyncHTTPClient(root, token=KEY) as client:
        assert (await client.greet(name="you")).startswith("Hello, you!")
        assert "".join([piece async for piece in client.count(most=3)]) == "0\n1\n2\n"
    closed(client)
    async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
        async with session.ws_connect(f"{root}/app/socket") as socket:
            await socket.send_str("hello")
            assert (await socket.receive_str(timeout=15)).endswith("hello")
        for path in ("/livez", "/readyz", "/metrics", "/schema.json", "/docs.json"):
            async with session.get(root + path) as answer:
                assert answer.status == 200, path
        async with session.get(f"{root}/app/nothing") as answer:
            assert (answer.status, "X-Atelier-Error" in answer.headers) == (404, False)


def test_an_event_of_a_container_arrives_before_it_makes_the_next(server: Management, api: httpx.Client) -> None:
    deployed(api, "many", image="users/many:1.0.0")
    with at(server, "many") as model, model.stream("GET", "/app/events/one", timeout=30) as answer:
        lines = (line for line in answer.iter_lines() if line)
        assert next(lines).startswith("data: ")
        for _ in range(3):
            model.post("/app/go/one")
            assert next(lines) == "data: called"


def test_no_request_fails_while_containers_are_updated_and_one_is_killed(server: Management, api: httpx.Client) -> None:
    deployed(api, "many", image="users/many:1.0.0", min_replicas=2)
    until(lambda: len(ready(api, "many")) == 2)
    with Callers(server, "many") as callers:
        until(lambda: callers.statuses[200] > 5)
        docker("kill", "--signal", "KILL", f"atelier-{min(ready(api, 'many'))}")
        change: dict[str, Any] = {"environment_variables": {"MANY": "2"}, "version": "2.0.0"}
        answer = api.put("/models/many", params={"wait": 120}, json={"config": change})
        assert answer.status_code == 200, answer.text
        until(lambda: "2" in callers.revisions)
    assert set(callers.statuses) == {200}, callers.refusals[:3]


@pytest.mark.parametrize("name", ["many", "duo"])
def test_a_container_that_sleeps_is_woken_by_a_call(server: Management, api: httpx.Client, name: str) -> None:
    deployed(api, name, image=f"users/{name}:1.0.0", min_replicas=0)
    until(lambda: status(api, name)["replicas"]["current"] == 0)
    with at(server, name) as model:
        answer = model.post("/greet", json={"name": "you"})
    assert (answer.status_code, answer.text[:11]) == (200, "Hello, you!")
