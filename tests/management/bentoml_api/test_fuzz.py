"""Thousands of calls that are nearly those of BentoML's client: no answer is a failure of the server."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Message, Scope

from management.bentoml_api import PREFIX
from management.bentoml_api.application import application
from management.bentoml_api.recognition import PAGE
from tests.doubles.management import FakeLauncher
from tests.support.chains.client_platform import ClientPlatform, add_bentos, exchange
from tests.support.chains.client_requests import Requests, json_of
from tests.support.chains.fuzz import Fuzzed, fuzzed

CASES = 6500
SECONDS = 30.0
STAYS = 0.1
"""Seconds for which the caller of a websocket listens."""
EXPECTED = {"INSUFFICIENT_RESOURCES", "STORAGE_FULL"}
"""Codes that a 5xx may have."""
MESSAGE = {"type", "message", "payload"}
"""Keys of each message of a websocket."""
NOT_FOUND = "record not found"
"""Words that the client takes for 404, whatever the status."""


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed(ClientPlatform, cpus=16, memory="16Gi", bento_upload_bytes=60_000, drain_seconds=0) as running:
        add_bentos(running.platform.settings.storage.home)
        yield running


def routes(api: Fuzzed) -> list[tuple[str, str]]:
    """Each method of each route; HEAD is answered as GET."""
    assert isinstance(api.platform, ClientPlatform)
    (mount,) = application(api.platform).routes
    assert isinstance(mount, Mount)
    found = []
    for route in mount.routes:
        if isinstance(route, Route):
            found += [(method, route.path) for method in sorted(route.methods or ()) if method != "HEAD"]
        elif isinstance(route, WebSocketRoute):
            found.append(("WEBSOCKET", route.path))
    return found


def requests_for(api: Fuzzed, seed: int) -> Requests:
    driver = api.platform.backend.driver
    assert isinstance(driver, FakeLauncher)
    return Requests(random.Random(seed), routes(api), api.viewer_key, lambda: driver.begun)


def told(api: Fuzzed, scope: Scope, said: list[Message]) -> list[Message]:
    return asyncio.run_coroutine_threadsafe(exchange(api, scope, said, STAYS), api.loop).result(SECONDS)


def check(scope: Scope, sent: list[Message]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Check an answer, and return its status, headers and body."""
    status, headers = sent[0]["status"], dict(sent[0]["headers"])
    assert sent[0]["type"] == "http.response.start"
    assert not sent[-1].get("more_body", False), "the answer has no end"
    body = b"".join(message.get("body", b"") for message in sent[1:])
    if status >= 400 and scope["method"] != "HEAD":
        check_error(scope, status, headers, body)
    return int(status), headers, body


def check_error(scope: Scope, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    if headers[b"content-type"].startswith(b"text/html"):  # a person reads the page of the login
        assert scope["path"] in (PAGE, PREFIX + PAGE)
        assert status in (401, 404)
        return
    found = json.loads(body)
    assert set(found) == {"error", "code"}
    assert all(found.values()), found
    assert status < 500 or found["code"] in EXPECTED
    assert NOT_FOUND not in body.decode()
    assert len(body) < 100_000


def check_websocket(sent: list[Message]) -> int:
    """Check what was sent on a websocket, and return 101 if it was opened."""
    opened = sent[0]["type"] == "websocket.accept"
    assert all(message.get("code") != 1011 for message in sent)
    for message in sent:
        if message["type"] == "websocket.send":
            found = json.loads(message["text"])
            assert set(found) == MESSAGE
            assert NOT_FOUND not in (found["message"] or "")
    return 101 if opened else 403


@pytest.mark.slow
def test_no_call_of_the_client_is_answered_by_a_failure_of_the_server(api: Fuzzed) -> None:
    made, statuses, liked = requests_for(api, 23), Counter[int](), Counter[tuple[str, str]]()
    for number in range(CASES):
        route, target, scope, said = made.next()
        sent: list[Message] = []
        try:
            sent = told(api, scope, said)
            if scope["type"] == "websocket":
                status = check_websocket(sent)
            else:
                status, headers, body = check(scope, sent)
                if status < 400 and scope["method"] == route[0]:
                    made.learnt.of(route, target, json_of(body), headers)
        except (AssertionError, KeyError, TimeoutError, ValueError) as error:
            raise AssertionError(f"case {number}: {route} {scope} {said} {sent}"[:6000]) from error
        statuses[status] += 1
        liked[route] += status < 400
    never = [route for route in made.routes if not liked[route]]
    assert not never, (never, statuses)
    assert {101, 200, 303, 400, 401, 403, 404, 405, 409, 413, 415, 422} <= statuses.keys(), statuses
    assert statuses[200] > CASES / 4, statuses
    for path in ("v2/deployments", "v1/bentos", "v1/models", "v1/org_secrets", "v1/api_tokens"):
        assert api.ask("GET", f"{PREFIX}/api/{path}").status_code == 200, "the next caller suffers"
