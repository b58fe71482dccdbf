"""deploy/nginx.conf: a deployed model's own address, by path and by host, with streams and websockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web

from tests.deploy.nginx_server import Nginx, Replica, answering, breaking_at_work, nginx

pytestmark = pytest.mark.docker

ONE = "127.0.0.2"
BY_PATH = ("/models/hello/app", "shop.example:8080")
BY_HOST = ("/app", "hello.models.shop.example:8080")
EVENTS = [b"data: 1\n\n", b"data: 2\n\n"]
ADDRESSES = pytest.mark.parametrize(("path", "host"), [BY_PATH, BY_HOST], ids=["by path", "by host"])


def streaming(arrived: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends an event, and makes the next once the caller has the first."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(EVENTS[0])
        if arrived.wait(30):
            handler.wfile.write(EVENTS[1])

    return behave


def receiving(begun: threading.Event) -> Iterator[bytes]:
    """A body whose second piece is sent once the first has reached the service."""
    yield b"first"
    assert begun.wait(30)
    yield b"second"


@ADDRESSES
def test_the_host_and_the_path_reach_atelier_as_they_were_sent(
    front: Nginx, caller: httpx.Client, path: str, host: str
) -> None:
    with front.running("atelier", Replica(ONE)):
        told = caller.post(f"{path}/a%2Fb?c=%20d", headers={"Host": host}).json()
    assert told["path"] == f"{path}/a%2Fb?c=%20d"
    assert told["headers"]["host"] == host
    assert told["headers"]["connection"] == "close"
    assert "upgrade" not in told["headers"]


@pytest.mark.parametrize(
    "path", ["/", "/classify", "/livez", "/health", "/health/atelier", "/metrics", "/api/v1/models"]
)
def test_every_path_is_the_models_where_the_host_names_it(front: Nginx, caller: httpx.Client, path: str) -> None:
    with front.running("atelier", Replica(ONE)):
        told = caller.get(path, headers={"Host": "Hello.models.localhost"}).json()
    assert (told["path"], told["headers"]["host"]) == (path, "hello.models.localhost")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/bento_repositories/hello/bentos/1/upload",
        "/api/v1/model_repositories",
        "/api/v2/deployments",
        "/bentoml/uploads?id=x&part=1",
        "/ws/v2/deployments/hello/pods",
        "/api_tokens?code=x",
        "/deployments/hello",
    ],
)
def test_what_bentomls_client_calls_reaches_atelier_with_a_large_body(
    front: Nginx, caller: httpx.Client, path: str
) -> None:
    with front.running("atelier", Replica(ONE)):
        told = caller.post(path, content=bytes(70 * 1024 * 1024), headers={"X-YATAI-API-TOKEN": "k"}).json()
    assert (told["path"], told["headers"]["x-yatai-api-token"]) == (path, "k")


@pytest.mark.parametrize("host", ["models.localhost", "a.b.models.localhost", "hello.models", "hello-models.localhost"])
def test_another_host_names_no_model(front: Nginx, caller: httpx.Client, host: str) -> None:
    with front.running("atelier", Replica(ONE)):
        assert caller.get("/app", headers={"Host": host}).status_code == 404


def test_a_services_own_port_knows_no_models(front: Nginx) -> None:
    with front.running("satellite", Replica(ONE)), front.client(8001) as client:
        assert client.get("/models/hello", headers={"Host": BY_HOST[1]}).json()["path"] == "/models/hello"


@ADDRESSES
def test_an_event_arrives_before_the_next_is_made(front: Nginx, caller: httpx.Client, path: str, host: str) -> None:
    arrived = threading.Event()
    with (
        front.running("atelier", Replica(ONE, streaming(arrived))),
        caller.stream("GET", path, headers={"Host": host}) as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces) == EVENTS[0]
        arrived.set()
        assert b"".join(pieces) == EVENTS[1]


@ADDRESSES
def test_a_piece_of_a_body_arrives_before_the_next_is_sent(front: Nginx, path: str, host: str) -> None:
    begun = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        assert handler.rfile.readline() == b"5\r\n"  # the first chunk
        begun.set()
        handler.rfile.readline()
        assert handler.rfile.readline() == b"6\r\n"
        answering(200, b"{}")(handler)

    with front.running("atelier", Replica(ONE, behave)), front.client() as client:
        assert client.post(path, headers={"Host": host}, content=receiving(begun)).status_code == 200


@pytest.mark.parametrize("path", ["/models/hello/echo", "/echo"])
async def test_a_websocket_opens_and_passes_messages_both_ways(front: Nginx, path: str) -> None:
    host = "shop.example" if path.startswith("/models") else "hello.models.shop.example"
    runner = web.AppRunner(_echo(path))
    await runner.setup()
    front.names.addresses["atelier"] = [ONE]
    try:
        await web.TCPSite(runner, ONE, front.ports[8080]).start()
        url = f"http://127.0.0.1:{front.ports[80]}{path}"
        async with aiohttp.ClientSession(headers={"Host": host}) as session, session.ws_connect(url) as opened:
            for text in ("one", "two"):
                await opened.send_str(text)
                assert await opened.receive_str(timeout=30) == text.upper()
    finally:
        front.names.addresses.pop("atelier")
        await runner.cleanup()


def _echo(path: str) -> web.Application:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        async for message in opened:
            await opened.send_str(str(message.data).upper())
        return opened

    application = web.Application()
    application.router.add_get(path, echo)
    return application


@ADDRESSES
def test_a_body_is_as_large_as_atelier_takes_it(front: Nginx, caller: httpx.Client, path: str, host: str) -> None:
    size = 65 * 1024 * 1024  # more than any other path takes
    with front.running("atelier", Replica(ONE)):
        assert caller.post(path, headers={"Host": host}, content=bytes(size)).json()["bytes"] == size


@ADDRESSES
def test_a_request_with_effects_that_reached_atelier_is_never_repeated(
    front: Nginx, caller: httpx.Client, path: str, host: str
) -> None:
    replicas = [Replica(address, breaking_at_work) for address in (ONE, "127.0.0.3")]
    with front.running("atelier", *replicas):
        front.forgotten()
        failed = caller.post(path, headers={"Host": host})
    assert sum(len(replica.asked) for replica in replicas) == 1
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "UPSTREAM_FAILED")
    assert failed.headers.get_list("x-atelier-error") == ["UPSTREAM_FAILED"]


def test_an_answer_of_a_model_has_the_models_headers_alone(front: Nginx, caller: httpx.Client) -> None:
    with front.running("atelier", Replica(ONE, answering(503, b"{}"))):
        answer = caller.get(BY_PATH[0], headers={"X-Request-ID": "mine"})
    assert answer.status_code == 503
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]  # the double sends it
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert not answer.headers.keys() & {"x-frame-options", "referrer-policy", "x-atelier-error"}


def test_a_caller_that_leaves_ends_the_stream_at_atelier(tmp_path: Path) -> None:
    begun, ended = threading.Event(), threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.settimeout(30)
        begun.set()
        if handler.connection.recv(1) == b"":
            ended.set()

    with nginx(tmp_path) as front, front.running("atelier", Replica(ONE, behave)):
        with socket.create_connection(("127.0.0.1", front.ports[80])) as connection:
            connection.sendall(b"GET /models/hello/app HTTP/1.1\r\nHost: a\r\n\r\n")
            assert begun.wait(10)
        assert ended.wait(10)
