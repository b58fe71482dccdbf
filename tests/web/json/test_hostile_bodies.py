"""Bodies and paths that cost more than they look: bounded before they are decoded, held or counted."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from management.api import schemas
from management.api.application import _add_documentation
from management.api.routes import inference
from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache, role_for_api
from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Role
from tests.doubles.asgi import Client, Echoes, ask, read, respond
from tests.runners.http.test_routes import Echo, app
from web import addresses, memory
from web.edge.known_paths import KnownPaths
from web.edge.middleware import Edge, Limits
from web.json import strict_json
from web.json import work as json_work
from web.json.strict_json import InvalidJSON
from web.memory import Memory

MIB = 1024 * 1024

# Structure


MANY = {
    "empty lists": b"[" + b"[]," * 4_000_000 + b"[]]",
    "empty objects": b"[" + b"{}," * 4_000_000 + b"{}]",
    "lists in a field": b'{"images": [' + b"[]," * 4_000_000 + b"[]]}",
    "numbers": b"[" + b"0," * 6_000_000 + b"0]",
    "strings": b"[" + b'"",' * 4_000_000 + b'""]',
    "strings of brackets": b'["' + b'[","' * 3_000_000 + b'"]',
    "keys": b"{" + b'"a":0,' * 2_000_000 + b'"b":0}',
    "objects of a key": b"[" + b'{"":0},' * 2_000_000 + b"0]",
    "lists that never end": b'{"images": [' + b"[]," * 4_000_000,
    "after a text full of quotes": b'["' + rb"\"" * 300_000 + b'",' + b"[]," * 2_000_000 + b"0]",
    "after a text full of backslashes": b'["' + rb"\\" * 300_001 + b'",' + b"[]," * 2_000_000 + b"0]",
}


@pytest.mark.parametrize("data", MANY.values(), ids=MANY)
def test_what_would_become_many_objects_is_refused_before_any_is_made(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidJSON, match="more than 100000 elements"):
            strict_json.loads(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(data) + 8 * MIB  # the text as characters, and a piece of it at a time


def test_a_text_may_hold_any_number_of_marks() -> None:
    text = '[]{},:"\\' * 400_000
    assert strict_json.loads(json.dumps({"text": text}).encode()) == {"text": text}


@pytest.mark.parametrize("count", [0, 1, 999, 1000])
@pytest.mark.parametrize("piece", ["0", "[]", '"a,b"', '{"a":1}'])
def test_the_count_is_exact_where_it_decides(piece: str, count: int) -> None:
    data = ("[" + ",".join([piece] * count) + "]").encode()
    has = 1 + max(0, count - 1) + {"0": 0, "[]": 1, '"a,b"': 0, '{"a":1}': 2}[piece] * count
    strict_json.loads(data, has)
    with pytest.raises(InvalidJSON, match="more than"):
        strict_json.loads(data, has - 1)


async def test_others_go_on_while_a_large_answer_is_read_and_written() -> None:
    data = b"[" + b'{"label": "forest", "score": 0.25},' * 50_000 + b"0]"
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    try:
        value = await json_work.loads(data, 1_000_000)
        read_turns, turns = turns, 0
        written = await json_work.dumps(value)
    finally:
        other.cancel()
    assert json.loads(written) == value
    assert min(read_turns, turns) > 20


@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/embed", "/embed/batch", "/infer"])
async def test_every_path_of_a_model_refuses_a_body_of_structure_alone(path: str) -> None:
    bomb = b'{"images": [' + b"[]," * 1_500_000 + b"[]]}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(Echo())), base_url="http://test") as client:
        answer = await client.post(path, content=bomb, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")
    assert "elements" in answer.json()["error"]


async def test_a_picture_as_a_million_numbers_is_no_structure_too_large_for_the_model_contract() -> None:
    pixels = b'{"requests": [{"input_data": {"x": [' + b"0.5," * 224 * 224 * 3 + b"0.5]}}]}"
    assert len((await json_work.loads(pixels, 1_000_000))["requests"]) == 1


# Memory


def edge(application: ASGIApp) -> Edge:
    limits = Limits(body_bytes=16 * MIB, request_seconds=60, body_seconds=60)
    return Edge(application, name="cats", limits=limits, routes=lambda _: True)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Memory:
    found = Memory(16 * MIB)
    monkeypatch.setattr(memory, "of_process", lambda: found)
    return found


class Holds:
    """Reads a body, and keeps it until it is let go."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        if scope["path"] == "/held":
            await self.release.wait()
        await respond(send)


async def test_bodies_have_one_bound_together_however_they_come(budget: Memory) -> None:
    held = Holds()
    layer = edge(held)
    waiting = [asyncio.create_task(ask(layer, "/held", client=Client([bytes(MIB)] * 4))) for _ in range(3)]
    async with asyncio.timeout(30):
        while budget.taken < 12 * MIB:  # noqa: ASYNC110 - the layer has no event for it
            await asyncio.sleep(0.01)
    refused = await ask(layer, "/held", client=Client([bytes(MIB)] * 4))
    assert refused.error == (503, "OVERLOADED")
    assert int(refused.header("retry-after")[0]) > 0
    assert (await ask(layer, "/small", client=Client([bytes(1000)]))).status == 200
    held.release.set()
    assert [one.status for one in await asyncio.gather(*waiting)] == [200] * 3
    assert budget.taken == 0
    assert (await ask(layer, "/held", client=Client([bytes(MIB)] * 4))).status == 200


async def test_a_request_weighs_in_the_queue_what_came_of_it() -> None:
    sender = Client([b'{"input_data": {', b'"a": "', b"x" * 5000, b'"}}'])
    request = Request({"type": "http", "headers": [], "state": {"request_id": "1"}}, sender.receive)
    body = await request.body()
    terms = await inference._options(request, schemas.InferenceBody.model_validate_json(body))
    assert terms.size == len(body) > 5000


async def test_small_requests_find_room_where_large_ones_have_taken_all_of_theirs(budget: Memory) -> None:
    large = budget.lease()
    assert large.take(14 * MIB)
    assert not budget.lease().take(MIB)
    assert budget.lease().take(1000)


async def test_what_is_decoded_and_downloaded_is_held_as_well(budget: Memory) -> None:
    async def decodes(scope: Scope, receive: Receive, send: Send) -> None:
        await json_work.loads(await read(receive), 1_000_000)
        await respond(send)

    body = b"[" + b"0," * 300_000 + b"0]"
    assert (await ask(edge(decodes), client=Client([body]))).error == (503, "OVERLOADED")
    assert budget.taken == 0

    async def downloads(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(20):
            memory.hold(MIB)
        await respond(send)

    assert (await ask(edge(downloads))).error == (503, "OVERLOADED")


# Small print of bodies


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(Echo())), base_url="http://test") as one:
        yield one


def multipart(disposition: str) -> dict[str, Any]:
    head = f"--b\r\nContent-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n".encode()
    body = head + bytes(10_000) + b"\r\n--b--\r\n"
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=b"}}


NAMES = {
    "extended alone": "form-data; name=\"image\"; filename*=UTF-8''a%20b.png",
    "extended first": 'form-data; name="image"; filename*=UTF-8\'\'a.png; filename="a.png"',
    "extended with a language": "form-data; filename*=utf-8'en'%E2%82%AC.png; name=image",
    "extended in Latin-1": "form-data; name=image; filename*=iso-8859-1'en'%A3.png",
    "extended that breaks out": "form-data; name=image; filename*=UTF-8''%22%3B%20name%3D%22x.png",
    "of an unknown charset": "form-data; name=image; filename*=klingon''x.png",
    "plain": 'form-data; name="image"; filename="a.png"',
}


@pytest.mark.parametrize("disposition", NAMES.values(), ids=NAMES)
async def test_a_file_is_a_file_whichever_way_it_is_named(client: httpx.AsyncClient, disposition: str) -> None:
    answer = await client.post("/classify", **multipart(disposition))
    assert (answer.status_code, answer.json().get("bytes")) == (200, 10_000)


@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/embed", "/embed/batch"])
@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; charset=utf-8", "Multipart/Form-Data;"])
async def test_a_missing_boundary_is_named(client: httpx.AsyncClient, path: str, kind: str) -> None:
    answer = await client.post(path, content=b"--b\r\n", headers={"content-type": kind})
    assert answer.status_code == 400
    assert "boundary" in answer.json()["error"]


@pytest.mark.parametrize(("path", "wanted"), [("/classify", "image"), ("/embed/batch", "images")])
@pytest.mark.parametrize("given", ["file", "picture"])
async def test_a_file_in_another_field_is_told_which_one_it_belongs_into(
    client: httpx.AsyncClient, path: str, wanted: str, given: str
) -> None:
    answer = await client.post(path, files={given: ("a.png", b"a")})
    assert answer.status_code == 400
    assert repr(wanted) in answer.json()["error"]
    assert repr(given) in answer.json()["error"]


async def test_head_is_answered_wherever_get_is() -> None:
    front = app(Echo())
    layer = edge(front)
    for path in ("/docs", "/openapi.json", "/health", "/"):
        got, head = await ask(layer, path, "GET"), await ask(layer, path, "HEAD")
        assert (head.status, head.body) == (got.status, b""), path
    assert (await ask(layer, "/classify", "HEAD")).status == 405


# Series


def served(folder: Path) -> Starlette:
    """Files, a mounted application, one in it, and one that does not say what it serves."""
    (folder / "css").mkdir()
    (folder / "a.js").write_text("a")
    (folder / "css" / "b.css").write_text("b")
    inner = FastAPI()
    inner.add_api_route("/deep", lambda: None)

    async def page(_: Any) -> Response:
        return Response()

    return Starlette(
        routes=[
            Route("/docs", page),
            Mount("/files", StaticFiles(directory=folder)),
            Mount("/inner", Starlette(routes=[Mount("/more", inner), Mount("/static", StaticFiles(directory=folder))])),
            Mount("/opaque", Echoes()),
        ]
    )


KNOWN = ("/docs", "/files/a.js", "/files/css/b.css", "/inner/more/deep", "/inner/static/a.js", "/inner/more/docs")


def odd_paths(mount: str, count: int) -> Iterator[str]:
    shapes = (
        "{m}/{n}",
        "{m}/a.js/{n}",
        "{m}//a{n}.js",
        "{m}/../{n}",
        "{m}/./a.js{n}",
        "{m}{n}",
        "{m}/%2e/{n}",
        "//{n}{m}",
    )
    for n in range(count):
        yield shapes[n % len(shapes)].format(m=mount, n=n)


@pytest.mark.parametrize("mount", ["/files", "/inner", "/inner/static", "/inner/more", "/opaque", "/docs", "/metrics"])
def test_20_000_odd_paths_below_a_mount_are_nobodys(tmp_path: Path, mount: str) -> None:
    paths = KnownPaths(served(tmp_path).routes)
    assert all(paths.has({"type": "http", "method": "GET", "path": path}) for path in KNOWN)
    assert not any(paths.has({"type": "http", "method": "GET", "path": path}) for path in odd_paths(mount, 20_000))


# Callers


def refusing(most: int = 3) -> Authenticator:
    keyring = KeyCache()
    keyring.learn([])
    return Authenticator(keyring, FailedLoginLimiter(most), role_for_api(frozenset(), "/static/"))


async def asked(door: Authenticator, address: str, key: bytes = b"wrong") -> int:
    scope = {"method": "GET", "edge.path": "/x", "headers": [(b"x-api-key", key)], "client": (address, 1), "state": {}}
    refused = await door(scope)
    return 0 if refused is None else refused.status


async def test_wrong_keys_are_slowed_by_where_they_come_from() -> None:
    for block in (["192.0.2.1"], [f"2001:db8::{n:x}" for n in range(9)], ["x" * 30_000, "y" * 30_000]):
        door = refusing()
        statuses = [await asked(door, block[n % len(block)]) for n in range(9)]
        assert statuses == [401] * 3 + [429] * 6
        assert max(map(len, door._failures._times)) <= addresses.MAX_ADDRESS_CHARACTERS


@pytest.mark.parametrize("around", [(b" ", b""), (b"", b" "), (b"\t ", b" \t")])
async def test_blanks_around_a_key_are_no_part_of_it(around: tuple[bytes, bytes]) -> None:
    one, keyring = keys.make("ci", Role.ADMIN, now()), KeyCache()
    keyring.learn([one.key])
    door = Authenticator(keyring, FailedLoginLimiter(3), role_for_api(frozenset(), "/static/"))
    assert await asked(door, "192.0.2.1", one.text.encode().join(around)) == 0
    assert await asked(door, "192.0.2.1", (one.text[:20] + " " + one.text[20:]).encode()) == 401


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("nobody", "unknown"),
        ("9" * 30_000, "unknown"),
    ],
)
def test_an_address_counts_with_what_one_caller_can_come_from(address: str, block: str) -> None:
    assert addresses.block((address, 1)) == block


# Pages


async def test_the_policy_of_a_page_allows_its_own_scripts_and_nothing_from_elsewhere(
    client: httpx.AsyncClient,
) -> None:
    check_page(await client.get("/docs"))
    management = FastAPI(title="management")
    _add_documentation(management, beside_models=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(management), base_url="http://test") as other:
        check_page(await other.get("/api/v1/docs"))


def check_page(answer: httpx.Response) -> None:
    """What the page loads is allowed by its policy, and nothing else runs."""
    directives = dict(one.strip().split(" ", 1) for one in answer.headers["content-security-policy"].split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in directives["script-src"]
    inline = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert inline
    for script in inline:
        assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in directives["script-src"]
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", answer.text)
    assert sources
    assert all(one.startswith("/") and not one.startswith("//") for one in sources)
    for name in ("script-src", "style-src", "img-src", "connect-src"):
        assert "'self'" in directives[name]
    assert directives["frame-ancestors"] == "'none'"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"\son[a-z]+=", answer.text)


# Requests that leave


async def test_a_request_that_leaves_holds_its_memory_until_its_thread_is_done() -> None:
    budget, goes_on = Memory(10 * MIB), threading.Event()
    lease = budget.lease()
    assert lease.take(MIB)
    work = asyncio.create_task(lease.in_thread(goes_on.wait, 30))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    lease.end()
    assert budget.taken == MIB
    assert not lease.take(1)
    goes_on.set()
    async with asyncio.timeout(30):
        while budget.taken:  # noqa: ASYNC110 - the thread's end is told to the loop, and to nobody else
            await asyncio.sleep(0.01)


async def test_a_request_that_is_over_takes_no_memory_any_more() -> None:
    budget = Memory(10 * MIB)
    lease = budget.lease()
    lease.end()
    assert not lease.take(1)
    assert budget.taken == 0
