"""Thousands of requests at own addresses, as a server may hand them on: no answer is a failure of the server."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.types import Message, Scope

from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.management_servers import KEY

CASES = 5000
SECONDS = 30.0
EXPECTED = {"MODEL_NOT_READY"}
"""Codes that a 5xx of the server may have."""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "X", "get"]
TARGET = [*"abcXYZ019-._~!$&'()*+,;=:@/", "/", "//", "/../", "%2F", "%00", "%FF", "%E4%BD%A0", "%", "%zz", "%25"]
ODD = ['"', "<", ">", "\\", "^", "`", "{", "|", "}", "[", "]", "\xe9", "\xff"]
"""What no client should send, and some servers let through."""
MODELS = ["echo"] * 12 + ["nothing", "Echo", "%65cho", "ec%68o", "", "a" * 80, "..", "\xe9"]
NAMES = [
    *("accept", "content-type", "x-mine", "connection", "te", "upgrade", "expect", "via", "forwarded", "cookie"),
    *("x-forwarded-for", "x-forwarded-host", "authorization", "x-api-key", "x-atelier-timeout", "origin", "range"),
    *("x-atelier-priority", "x-atelier-revision", "idempotency-key", "content-encoding", "sec-websocket-key", "host"),
    *("x-request-id", "accept-language", "sec-fetch-site", "transfer-encoding", "keep-alive"),
]
VALUES = [
    *("", "1", "0", "-1", "close", "x-mine, te", "chunked", "100-continue", "websocket", "gzip", "low", "HIGH", "fr"),
    *("Basic Og==", "Basic !", "Bearer x", "text/html", "application/json", "application/x-pickle", "a=b; c=d"),
    *(
        "caf\xe9",
        "\xe4\xbd\xa0",
        "\xff\xfe",
        "a\tb",
        "\x01\x7f",
        "x" * 6000,
        "bytes=0-1",
        "https://evil.example",
        "1e5",
    ),
]


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed() as running:
        running.deploy_echo()
        yield running


def request(chance: random.Random) -> tuple[Scope, list[bytes]]:
    """A scope, and the pieces of a body."""
    target = "".join(chance.choices(TARGET + ODD * (chance.random() < 0.2), k=chance.randrange(12)))
    query = "".join(chance.choices([*TARGET, "=", "&", "?"], k=chance.randrange(8)))
    by_host = chance.random() < 0.15
    raw = f"/{target}" if by_host else f"/models/{chance.choice(MODELS)}" + f"/{target}" * (chance.random() < 0.95)
    host = f"{chance.choice(['echo', 'nothing', 'ECHO'])}.models.localhost" if by_host else "testserver"
    headers = [(b"host", host.encode())] * (chance.random() < 0.97)
    headers += [(b"x-api-key", KEY.encode())] * (chance.random() < 0.95)
    for _ in range(chance.randrange(6)):
        headers.append((chance.choice(NAMES).encode(), chance.choice(VALUES).encode("latin-1")))
    if chance.random() < 0.1:
        headers.append((b"x-status", str(chance.choice([201, 204, 304, 404, 418, 429, 500, 503])).encode()))
    pieces = [chance.randbytes(chance.choice([0, 1, 100, 70_000])) for _ in range(chance.choice([0, 1, 1, 1, 3, 9]))]
    if chance.random() < 0.5:  # servers see to it that it is the right one
        headers.append((b"content-length", str(sum(map(len, pieces))).encode()))
    kind = "websocket" if chance.random() < 0.05 else "http"
    scope: Scope = {
        **{"type": kind, "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
        **{"path": unquote(raw, "utf-8", "replace"), "raw_path": raw.encode("latin-1"), "headers": headers},
        **{"query_string": query.encode("latin-1"), "client": ("127.0.0.1", 1), "server": ("testserver", 80)},
        **{"state": {}, "extensions": {"websocket.http.response": {}}, "subprotocols": ["a"][: chance.randrange(2)]},
    }
    if kind == "http":
        scope["method"] = chance.choice(METHODS)
    return scope, pieces


async def exchange(api: Fuzzed, scope: Scope, pieces: list[bytes]) -> list[Message]:
    """What the server sends."""
    if scope["type"] == "websocket":
        waiting: list[Message] = [{"type": "websocket.connect"}]
    else:
        last = {"type": "http.request", "body": b"", "more_body": False}
        waiting = [*({"type": "http.request", "body": piece, "more_body": True} for piece in pieces), last]
    sent: list[Message] = []

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(SECONDS):
        await api.app(scope, receive, send)
    return sent


def check(scope: Scope, pieces: list[bytes], sent: list[Message]) -> int:
    """Check an answer, and return its status."""
    if scope["type"] == "websocket":
        assert sent, "it was not answered"
        assert sent[0].get("status", 403) < 500 or b"x-atelier-error" not in dict(sent[0]["headers"])
        return 0
    status, headers = sent[0]["status"], dict(sent[0]["headers"])
    assert sent[0]["type"] == "http.response.start"
    assert not sent[-1].get("more_body", False), "the answer has no end"
    body = b"".join(message.get("body", b"") for message in sent[1:])
    if b"x-atelier-error" in headers:
        # The echo's server sends a body with its refusal of a HEAD that it cannot read, which is no HTTP.
        expected = EXPECTED | ({"MODEL_FAILED"} if scope["method"] == "HEAD" else set())
        assert status < 500 or headers[b"x-atelier-error"].decode() in expected, (status, body)
        assert scope["method"] == "HEAD" or json.loads(body)["error"]["code"] == headers[b"x-atelier-error"].decode()
    elif status == 200 and scope["method"] != "HEAD" and b"x-atelier-revision" in headers:
        check_arrived(scope, b"".join(pieces), json.loads(body))
    return int(status)


def check_arrived(scope: Scope, body: bytes, told: dict[str, Any]) -> None:
    """Check that all of the request arrived, and nothing that is the server's."""
    assert told["method"] == scope["method"].upper()
    assert told["body"].encode("latin-1") == body
    raw = bytes(scope["raw_path"]).decode("latin-1").removeprefix("/models/echo") or "/"
    query = scope["query_string"].decode()
    if raw.isascii():
        assert told["target"] == raw + (f"?{query}" if query else "")
    assert not [value for _, value in told["headers"] if KEY in value]
    assert "x-api-key" not in {name.lower() for name, _ in told["headers"]}


@pytest.mark.slow
def test_no_request_at_an_own_address_is_answered_by_a_failure_of_the_server(api: Fuzzed) -> None:
    chance = random.Random(19)
    statuses: Counter[int] = Counter()
    for number in range(CASES):
        scope, pieces = request(chance)
        sent: list[Message] = []
        try:
            sent = asyncio.run_coroutine_threadsafe(exchange(api, scope, pieces), api.loop).result(SECONDS)
            statuses[check(scope, pieces, sent)] += 1
        except (AssertionError, KeyError, TimeoutError, ValueError) as error:
            raise AssertionError(f"case {number}: {scope} {sent}") from error
    assert statuses[200] > CASES / 4, statuses
