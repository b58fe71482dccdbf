"""What of a request reaches the model: all that is its own, and nothing that is for the server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send
from yarl import URL

from management.domain.keys import Role
from tests.doubles.asgi import respond
from tests.doubles.own_address import MODEL, OwnAddress, Recorder, own_address, serving_model

UPLOAD = 16 * 1024 * 1024


@pytest.fixture
def model() -> Recorder:
    return Recorder()


@pytest.fixture
async def address(tmp_path: Path, model: Recorder) -> AsyncIterator[OwnAddress]:
    async with serving_model(tmp_path, model) as serving:
        yield serving


def head(address: OwnAddress, target: str, *lines: str, method: str = "GET", host: str = "") -> str:
    key = f"X-API-Key: {address.texts[Role.OPERATOR]}"
    return "\n".join((f"{method} {target} HTTP/1.1", f"Host: {host or address.host}", key, *lines))


@pytest.mark.parametrize(
    "inner",
    [
        "/",
        "/greet",
        "/a/b/c",
        "/a%2Fb",
        "/a//b",
        "//a",
        "/a/../b",
        "/../../x",
        "/%2e%2e/x",
        "/a%20b",
        "/a+b",
        "/%E4%BD%A0",
        "/caf%C3%A9",
        "/%FF",
        "/a;b=c",
        "/a:b@c",
        "/a?x=1&x=2&y=",
        "/a?x=%2F&y=a+b&z=%E4%BD%A0",
        "/a?",
        "/a?b?c",
        "/?a[]=1",
        "/a%3Fb",
        "/a%23b?c=%23",
        "/api/v1/models",
        "/models/hello",
    ],
)
async def test_path_and_query_reach_the_model_as_they_were_written(
    address: OwnAddress, model: Recorder, inner: str
) -> None:
    status, _, _ = await address.send(head(address, f"/models/{MODEL}{inner}"))
    assert status == 200
    assert model.target.decode() == inner.removesuffix("?")


async def test_a_path_is_the_same_where_the_host_names_the_model(address: OwnAddress, model: Recorder) -> None:
    for inner in ("/", "/a%2Fb//c?d=e+f", "/models/hello/x", "/api/v1/models"):
        assert (await address.send(head(address, inner, host=address.by_host)))[0] == 200
        assert model.target.decode() == inner


async def test_the_address_without_a_slash_is_the_models_root(address: OwnAddress, model: Recorder) -> None:
    assert (await address.send(head(address, f"/models/{MODEL}")))[0] == 200
    assert model.target == b"/"
    assert (await address.send(head(address, f"/models/{MODEL}?a=b")))[0] == 200
    assert model.target == b"/?a=b"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"])
async def test_every_method_reaches_the_model(address: OwnAddress, model: Recorder, method: str) -> None:
    async with address.session() as session, session.request(method, f"{address.url}/x", data=b"body") as answer:
        assert (answer.status, await answer.read()) == (200, b"answer")
    assert (model.scope["method"], model.bodies) == (method, [b"body"])


async def test_head_reaches_the_model_as_head_and_is_answered_without_a_body(
    address: OwnAddress, model: Recorder
) -> None:
    model.headers = [(b"etag", b'"1"')]
    status, headers, body = await address.send(head(address, f"/models/{MODEL}/x", method="HEAD"))
    assert (status, body, dict(headers)["etag"], dict(headers)["content-length"]) == (200, b"", '"1"', "6")
    assert model.scope["method"] == "HEAD"


async def test_repeated_headers_keep_their_number_and_order(address: OwnAddress, model: Recorder) -> None:
    lines = ("X-Many: 1", "X-Other: a", "x-many: 2", "X-Many: 3, 4", "X-Empty:")
    assert (await address.send(head(address, f"/models/{MODEL}/x", *lines)))[0] == 200
    assert model.got("x-many") == [b"1", b"2", b"3, 4"]
    assert model.got("x-empty") == [b""]


async def test_text_beyond_ascii_in_a_header_reaches_the_model_as_utf_8(address: OwnAddress, model: Recorder) -> None:
    lines = ("X-Utf-8: " + "caf\u00e9 \u4f60".encode().decode("latin-1"), "X-Latin-1: caf\xe9")
    assert (await address.send(head(address, f"/models/{MODEL}/x", *lines)))[0] == 200
    assert model.got("x-utf-8") == ["caf\u00e9 \u4f60".encode()]
    assert model.got("x-latin-1") == ["caf\u00e9".encode()]


async def test_nothing_is_added_that_a_client_would_have_said_itself(address: OwnAddress, model: Recorder) -> None:
    assert (await address.send(head(address, f"/models/{MODEL}/x")))[0] == 200
    assert model.names == {
        *{b"host", b"x-request-id", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix"},
        b"x-atelier-replica-key",
    }


@pytest.mark.parametrize(
    "line",
    [
        "X-API-Key: {key}",
        "Authorization: Bearer {key}",
        "authorization: bearer {key}",
        "Authorization: Basic {basic}",
    ],
)
async def test_a_key_never_reaches_the_model(address: OwnAddress, model: Recorder, line: str) -> None:
    key = address.texts[Role.OPERATOR]
    written = line.format(key=key, basic=base64.b64encode(f"anyone:{key}".encode()).decode())
    status, _, _ = await address.send(f"GET /models/{MODEL}/x HTTP/1.1\nHost: {address.host}\n{written}")
    assert status == 200
    assert {b"x-api-key", b"authorization"}.isdisjoint(model.names)
    assert key.encode() not in b"".join(value for _, value in model.scope["headers"])


async def test_a_caller_cannot_pass_as_the_server(address: OwnAddress, model: Recorder) -> None:
    forged = (
        *("X-Atelier-Replica-Key: forged", "X-Atelier-Revision: 7", "X-Forwarded-For: 1.1.1.1"),
        *("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil", "Via: 1.0 me"),
        *("Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1"),
    )
    assert (await address.send(head(address, f"/models/{MODEL}/x", *forged)))[0] == 200
    assert model.got("x-atelier-replica-key") == [b"the replica's key"]
    assert model.got("x-forwarded-host") == [address.host.encode()]
    assert model.got("x-forwarded-prefix") == [b"/models/hello"]
    assert {b"forwarded", b"via", b"x-real-ip", b"x-forwarded-for", b"x-atelier-revision"}.isdisjoint(model.names)


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(address: OwnAddress, model: Recorder) -> None:
    lines = head(address, f"/models/{MODEL}/x", "Expect: 100-continue", "Content-Length: 4", method="POST")
    status, _, rest = await address.send(lines, b"body")
    assert (status, rest[:12], model.bodies) == (100, b"HTTP/1.1 200", [b"body"])
    assert model.got("expect") == []


async def test_headers_between_neighbours_are_not_passed_on(address: OwnAddress, model: Recorder) -> None:
    lines = ("Connection: keep-alive, X-Mine", "X-Mine: 1", "TE: trailers", "Keep-Alive: 5", "Proxy-Connection: x")
    assert (await address.send(head(address, f"/models/{MODEL}/x", *lines, "Proxy-Authorization: x")))[0] == 200
    assert not {b"x-mine", b"te", b"keep-alive", b"proxy-connection", b"proxy-authorization"} & model.names


async def test_a_model_knows_under_which_address_it_is_called(address: OwnAddress, model: Recorder) -> None:
    assert (await address.send(head(address, f"/models/{MODEL}/x")))[0] == 200
    assert (model.got("host"), model.got("x-forwarded-prefix")) == ([address.host.encode()], [b"/models/hello"])
    assert (await address.send(head(address, "/x", host=address.by_host)))[0] == 200
    assert (model.got("host"), model.got("x-forwarded-prefix")) == ([address.by_host.encode()], [])
    assert model.got("x-forwarded-proto") == [b"http"]


async def test_a_caller_may_name_the_request_that_the_model_logs(address: OwnAddress, model: Recorder) -> None:
    _, headers, _ = await address.send(head(address, f"/models/{MODEL}/x", "X-Request-ID: mine-1"))
    assert (dict(headers)["x-request-id"], model.got("x-request-id")) == ("mine-1", [b"mine-1"])


async def test_cookies_reach_a_model_only_where_the_host_is_its_own(address: OwnAddress, model: Recorder) -> None:
    assert (await address.send(head(address, f"/models/{MODEL}/x", "Cookie: a=b")))[0] == 200
    assert model.got("cookie") == []
    assert (await address.send(head(address, "/x", "Cookie: a=b", host=address.by_host)))[0] == 200
    assert model.got("cookie") == [b"a=b"]


async def test_a_form_with_a_file_reaches_the_model_unchanged(address: OwnAddress, model: Recorder) -> None:
    form = aiohttp.FormData()
    form.add_field("name", "caf\xe9")
    form.add_field("file", b"\0\1\2\xff", filename="x.bin", content_type="application/octet-stream")
    async with address.session() as session, session.post(f"{address.url}/x", data=form) as answer:
        assert answer.status == 200
    assert model.got("content-type")[0].startswith(b"multipart/form-data; boundary=")
    assert b'filename="x.bin"' in model.bodies[0]
    assert b"\0\1\2\xff" in model.bodies[0]


async def test_a_compressed_body_is_the_models_to_read(address: OwnAddress, model: Recorder) -> None:
    headers = {"Content-Encoding": "gzip"}
    body = b"\x1f\x8bnot really"
    async with address.session() as session, session.post(f"{address.url}/x", data=body, headers=headers) as answer:
        assert answer.status == 200
    assert (model.bodies, model.got("content-encoding")) == ([b"\x1f\x8bnot really"], [b"gzip"])


class Digests:
    """A model that answers with the digest of a body, and keeps nothing of it."""

    def __init__(self) -> None:
        self.largest = self.pieces = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        digest, more = hashlib.sha256(), True
        while more:
            message = await receive()
            piece, more = message.get("body", b""), message.get("more_body", False)
            digest.update(piece)
            self.largest, self.pieces = max(self.largest, len(piece)), self.pieces + 1
        await respond(send, body=digest.hexdigest().encode())


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_arrives_whole_in_pieces(tmp_path: Path, *, chunked: bool) -> None:
    content = bytes(range(256)) * (UPLOAD // 256)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, UPLOAD, 100_000):
            yield content[start : start + 100_000]

    digests = Digests()
    async with serving_model(tmp_path, digests) as address, address.session() as session:
        data = pieces() if chunked else BytesIO(content)
        async with session.post(f"{address.url}/x", data=data) as answer:
            assert await answer.text() == hashlib.sha256(content).hexdigest()
    assert digests.pieces > 10
    assert digests.largest < UPLOAD // 4


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, *, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(2000):
            yield b"x" * 1000

    model = Recorder()
    async with serving_model(tmp_path, model, call_bytes=1_000_000) as address, address.session() as session:
        async with session.post(f"{address.url}/x", data=pieces() if chunked else b"x" * 1_000_001) as answer:
            assert (answer.status, answer.headers["X-Atelier-Error"]) == (413, "PAYLOAD_TOO_LARGE")
        async with session.post(f"{address.url}/x", data=b"x" * 1_000_000) as answer:
            assert answer.status == 200
        await address.free()
    assert [len(body) for body in model.bodies if len(body) == 1_000_000] == [1_000_000]


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.bentoml+pickle",
        "Application/VND.BentoML+Pickle",
        "application/x-pickle; a=b",
        "application/python-pickle",
    ],
)
async def test_pickle_never_reaches_a_model(address: OwnAddress, model: Recorder, kind: str) -> None:
    headers = {"Content-Type": kind}
    async with address.session() as session, session.post(f"{address.url}/x", data=b"x", headers=headers) as answer:
        assert (answer.status, answer.headers["X-Atelier-Error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        assert "pickle" in (await answer.json())["error"]["message"]
    assert model.bodies == []


async def test_a_model_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with own_address(tmp_path) as address, address.session() as session:
        for inner in (f"/models/{MODEL}/x", "/models/UPPER/x", "/models/a%2Fb/x", "/models/", "/models", "/models//x"):
            async with session.get(URL(f"http://{address.host}{inner}", encoded=True)) as answer:
                told = await answer.json()
            assert (answer.status, told["error"]["code"]) == (404, answer.headers["X-Atelier-Error"])


async def test_requests_are_counted_under_one_route(address: OwnAddress) -> None:
    for number in range(3):
        assert (await address.send(head(address, f"/models/{MODEL}/x{number}")))[0] == 200
    assert address.counted == [("/models/{model_id}", "GET", 200)] * 3
