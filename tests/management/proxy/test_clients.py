"""BentoML's own clients, and plain HTTP, at the own addresses of Bentos of every kind."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import bentoml
import httpx
import numpy as np
import pytest
from PIL import Image

from management.domain.keys import Role
from management.proxy import bentoml_client
from management.proxy.addresses import Address
from tests.doubles.own_address import MODEL, OwnAddress, Recorder, serving_model
from tests.support.management_servers import KEY, Management


def closed(client: Any) -> None:
    """Remove the client's folder of files, which it leaves to the garbage collector."""
    client._temp_dir.cleanup()


@pytest.fixture(params=["many", "duo"])
def client(models: Management, request: pytest.FixtureRequest) -> Iterator[Any]:
    with bentoml.SyncHTTPClient(f"{models.url}/models/{request.param}", token=KEY) as made:
        yield made
    closed(made)


@pytest.fixture
def sync(models: Management) -> Iterator[Any]:
    with bentoml.SyncHTTPClient(f"{models.url}/models/many", token=KEY) as made:
        yield made
    closed(made)


def test_a_client_of_bentoml_calls_a_bento_of_one_service_and_of_several(client: Any) -> None:
    assert client.is_ready()
    assert client.greet(name="you").startswith("Hello, you!")
    assert "".join(client.count(most=3)) == "0\n1\n2\n"


def test_a_client_of_bentoml_calls_every_kind_of_api(sync: Any, tmp_path: Path) -> None:
    assert sync.greet() == "Hello, world!"
    assert sync.add(numbers=[1, 2, 3], factor=2) == {"sum": 12}
    assert np.array_equal(sync.double(values=np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3) * 2)
    assert sync.length("caf\u00e9") == 4
    file = tmp_path / "quiet.txt"
    file.write_text("quiet")
    assert Path(sync.shout(file=file)).read_text() == "QUIET"
    picture = Image.new("RGB", (4, 2))
    picture.putpixel((0, 0), (255, 0, 0))
    picture.save(tmp_path / "picture.png")
    assert sync.mirror(picture=tmp_path / "picture.png").getpixel((3, 0)) == (255, 0, 0)


def test_a_task_is_submitted_and_its_result_fetched(many: httpx.Client) -> None:
    task = many.post("/square/submit", json={"number": 7}).json()["task_id"]
    pause = threading.Event()
    while many.get("/square/status", params={"task_id": task}).json()["status"] == "in_progress":
        assert not pause.wait(0.05)
    assert many.get("/square/get", params={"task_id": task}).json() == 49


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/models/many", "http://many.models.localhost:{port}"])
async def test_the_client_of_bentoml_submits_tasks(
    address: str, models: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BentoML 1.4.39 itself sends ``submit`` to the root of the host, and its synchronous ``submit`` fails always."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more, **named: resolve("127.0.0.1", *more, **named))
    port = models.url.rpartition(":")[2]
    async with bentoml.AsyncHTTPClient(address.format(port=port), token=KEY) as client:
        task = await client.square.submit(number=7)
        while (await task.get_status()).value == "in_progress":  # noqa: ASYNC110 - the client has no event for it
            await asyncio.sleep(0.05)
        assert await task.get() == 49
    closed(client)


async def test_the_asynchronous_client_of_bentoml_calls_every_kind_of_api(models: Management) -> None:
    async with bentoml.AsyncHTTPClient(f"{models.url}/models/many", token=KEY) as client:
        assert await client.is_ready()
        assert await client.greet(name="you") == "Hello, you!"
        assert "".join([piece async for piece in client.count(most=3)]) == "0\n1\n2\n"
        assert np.array_equal(await client.double(values=np.ones(3)), np.ones(3) * 2)
        told = await asyncio.gather(*(client.add(numbers=[number]) for number in range(50)))
    closed(client)
    assert told == [{"sum": number} for number in range(50)]


@pytest.mark.parametrize("name", ["many", "duo"])
def test_the_pages_that_bentoml_adds_are_there(models: Management, name: str) -> None:
    with models.client() as client:
        root = f"{models.url}/models/{name}"
        for path in ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json", "/docs.json", "/"):
            assert client.get(root + path).status_code == 200, path
        assert b"bentoml_service" in client.get(f"{root}/metrics").content
        routes = {route["route"] for route in client.get(f"{root}/schema.json").json()["routes"]}
        assert {"/greet", "/count"} <= routes
        answer = client.get(f"{root}/nothing")
        assert (answer.status_code, "X-Atelier-Error" in answer.headers) == (404, False)


def test_a_hook_of_the_author_ran_before_the_model_served(many: httpx.Client) -> None:
    assert many.get("/app/echo/x").json()["prepared"] == "yes"


def test_an_error_of_the_bento_is_its_own(many: httpx.Client) -> None:
    answer = many.post("/add", json={"numbers": "none"})
    assert (answer.status_code, "X-Atelier-Error" in answer.headers) == (400, False)


def test_a_mounted_application_gets_requests_as_they_were_sent(many: httpx.Client) -> None:
    told = many.request("PATCH", "/app/echo/a%2Fb%20c?x=1&x=%2F", content=b"body", headers={"X-Mine": "1"}).json()
    assert (told["method"], told["query"], told["body"]) == ("PATCH", "x=1&x=%2F", "body")
    assert told["target"].endswith("/echo/a%2Fb%20c")
    names = {name for name, _ in told["headers"]}
    assert "x-mine" in names
    assert {"x-api-key", "authorization"}.isdisjoint(names)


@pytest.mark.parametrize("name", ["many", "duo"])
@pytest.mark.parametrize("by_host", [False, True])
def test_a_redirection_of_a_mounted_application_leads_to_its_page(
    models: Management, name: str, *, by_host: bool
) -> None:
    port = models.url.rpartition(":")[2]
    root, host = (models.url, f"{name}.models.localhost:{port}") if by_host else (f"{models.url}/models/{name}", None)
    with models.client() as client:
        headers = {} if host is None else {"Host": host}
        answer = client.get(f"{root}/app/slash", headers=headers)
        assert answer.status_code == 307
        there = answer.headers["Location"]
        assert there == ("/app/slash/" if by_host else f"/models/{name}/app/slash/")
        assert client.get(models.url + there, headers=headers).json() == "found"


def reading(lines: Iterator[str]) -> Callable[[], str]:
    def read() -> str:
        return next(line for line in lines if line)

    return read


def test_an_event_arrives_before_the_bento_makes_the_next(many: httpx.Client) -> None:
    with many.stream("GET", "/app/events/one", timeout=15) as answer:
        lines = answer.iter_lines()
        read = reading(lines)
        assert read().startswith("data: ")
        for _ in range(3):
            many.post("/app/go/one")
            assert read() == "data: called"
        many.post("/app/go/stop-one")
        many.post("/app/go/one")
        assert "".join(lines) == ""


def test_a_caller_that_leaves_an_answer_ends_the_work_of_the_bento(many: httpx.Client) -> None:
    with many.stream("GET", "/app/events/two", timeout=15) as answer:
        reading(answer.iter_lines())()
    waiting = threading.Event()
    for _ in range(100):
        if many.get("/app/seen/left-two").json() == 1:
            return
        waiting.wait(0.1)
    raise AssertionError("the Bento did not see that its caller has left")


@pytest.mark.parametrize("name", ["many", "duo"])
async def test_a_websocket_reaches_a_mounted_application(models: Management, name: str) -> None:
    async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
        async with session.ws_connect(f"{models.url}/models/{name}/app/socket") as socket:
            for number in range(3):
                await socket.send_str(str(number))
                assert (await socket.receive_str(timeout=15)).endswith(str(number))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{models.url}/models/{name}/app/nothing")
        assert refused.value.status == 403


def test_an_upload_of_a_form_reaches_the_bento(many: httpx.Client) -> None:
    answer = many.post("/shout", files={"file": ("x.txt", b"some text " * 100_000, "text/plain")})
    assert answer.content == b"SOME TEXT " * 100_000


def test_a_status_names_both_addresses(models: Management) -> None:
    with models.client() as client:
        endpoints = client.get("/models/many/status").json()["endpoints"]
    urls = {endpoint["type"]: endpoint["url"] for endpoint in endpoints}
    assert urls["own"] == f"{models.url}/models/many/"
    assert list(urls)[:2] == ["inference", "batch_inference"], "the documented ones come first"


# What is changed for BentoML's client

SCHEMA = {"name": "Many", "routes": [{"route": "/greet", "is_task": False}, {"route": "/square", "is_task": True}]}
HELLO = Address("hello", "/greet", "/greet?a=1", "/models/hello")


def test_a_second_prefix_is_dropped() -> None:
    twice = replace(HELLO, path="/models/hello/greet", target="/models/hello/greet?a=1")
    assert bentoml_client.without_second_prefix(twice) == HELLO
    assert bentoml_client.without_second_prefix(HELLO) == HELLO


@pytest.mark.parametrize("path", ["/models/hello", "/models/hello2/greet", "/models/other/greet"])
def test_another_path_of_the_model_stays(path: str) -> None:
    address = replace(HELLO, path=path, target=path)
    assert bentoml_client.without_second_prefix(address) == address


@pytest.mark.parametrize("schema", [b"", b"[]", b"{}", b'{"routes": 1}', b'{"routes":[1,{"route":2,"is_task":true}]}'])
def test_what_is_no_schema_stays(schema: bytes) -> None:
    changed = bentoml_client.with_whole_paths(schema, "/models/hello")
    assert changed == schema or json.loads(changed) == json.loads(schema)


async def test_its_client_alone_gets_whole_paths_of_tasks(tmp_path: Path) -> None:
    model = Recorder()
    model.body = json.dumps(SCHEMA).encode()
    async with serving_model(tmp_path, model) as address:
        assert await routes(address, "curl/8") == ["/greet", "/square"]
        assert await routes(address, "BentoML HTTP Client/1.4.39") == ["/greet", "/models/hello/square"]


async def routes(address: OwnAddress, agent: str) -> list[str]:
    status, _, body = await address.send(
        f"GET /models/{MODEL}/schema.json HTTP/1.1\nHost: {address.host}\nX-API-Key: {address.texts[Role.OPERATOR]}"
        f"\nUser-Agent: {agent}"
    )
    assert status == 200
    return [route["route"] for route in json.loads(body)["routes"]]
