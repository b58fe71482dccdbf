"""What of a model's answer reaches the caller: all that is its own, with links and cookies that lead back to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from management.domain.keys import Role
from tests.doubles.own_address import MODEL, OwnAddress, Recorder, serving_model

PREFIX = f"/models/{MODEL}"


@pytest.fixture
def model() -> Recorder:
    return Recorder()


@pytest.fixture
async def address(tmp_path: Path, model: Recorder) -> AsyncIterator[OwnAddress]:
    async with serving_model(tmp_path, model) as serving:
        yield serving


async def ask(
    address: OwnAddress, *, by_host: bool = False, method: str = "GET"
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Ask the model at one of its two addresses."""
    target, host = ("/x", address.by_host) if by_host else (f"{PREFIX}/x", address.host)
    return await address.send(
        f"{method} {target} HTTP/1.1\nHost: {host}\nX-API-Key: {address.texts[Role.OPERATOR]}\nAccept-Language: en"
    )


@pytest.mark.parametrize("status", [200, 201, 204, 206, 301, 304, 400, 401, 403, 404, 405, 418, 422, 429, 451])
async def test_a_status_of_the_model_passes_unmarked(address: OwnAddress, model: Recorder, status: int) -> None:
    model.status, model.body = status, b"" if status in (204, 304) else b"the model's own"
    got, headers, body = await ask(address)
    assert (got, body) == (status, model.body)
    assert "x-atelier-error" not in dict(headers)
    assert dict(headers)["x-atelier-revision"] == "1"


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 507, 599])
async def test_a_failure_of_the_model_is_not_taken_for_one_of_the_server(
    address: OwnAddress, model: Recorder, status: int
) -> None:
    model.status, model.body = status, b"the model's own"
    got, headers, body = await ask(address, method="POST")
    assert (got, body, "x-atelier-error" in dict(headers)) == (status, b"the model's own", False)


async def test_a_model_cannot_answer_in_the_servers_name(address: OwnAddress, model: Recorder) -> None:
    model.status = 503
    model.headers = [
        *((b"X-Atelier-Error", b"MODEL_NOT_READY"), (b"X-Atelier-Revision", b"99"), (b"x-request-id", b"forged")),
        (b"X-Atelier-Queue-Time", b"99"),
    ]
    _, headers, _ = await ask(address)
    named = [name for name, _ in headers]
    assert "x-atelier-error" not in named
    assert (named.count("x-atelier-revision"), dict(headers)["x-atelier-revision"]) == (1, "1")
    assert (named.count("x-atelier-queue-time"), dict(headers)["x-atelier-queue-time"] < "1") == (1, True)
    assert (named.count("x-request-id"), dict(headers)["x-request-id"] == "forged") == (1, False)


async def test_repeated_headers_of_an_answer_keep_their_number_and_order(address: OwnAddress, model: Recorder) -> None:
    model.headers = [
        (b"Link", b"<a>"),
        (b"X-Other", "caf\u00e9".encode()),
        (b"Link", b"<b>"),
        (b"Content-Type", b"x/y"),
    ]
    _, headers, _ = await ask(address)
    assert [value for name, value in headers if name == "link"] == ["<a>", "<b>"]
    assert dict(headers)["x-other"].encode("latin-1").decode() == "caf\u00e9"
    assert dict(headers)["content-type"] == "x/y"


async def test_a_long_header_of_an_answer_passes(address: OwnAddress, model: Recorder) -> None:
    model.headers = [(b"X-Long", b"x" * 30_000)]
    status, headers, _ = await ask(address)
    assert (status, len(dict(headers)["x-long"])) == (200, 30_000)


async def test_headers_of_an_answer_between_neighbours_are_not_passed_on(address: OwnAddress, model: Recorder) -> None:
    model.headers = [
        *((b"Connection", b"x-mine"), (b"X-Mine", b"1"), (b"Keep-Alive", b"5"), (b"Server", b"uvicorn")),
        *((b"Proxy-Authenticate", b"x"), (b"Trailer", b"x"), (b"X-Kept", b"1")),
    ]
    _, headers, _ = await ask(address)
    named = {name for name, _ in headers}
    assert named.isdisjoint({"x-mine", "keep-alive", "server", "proxy-authenticate", "trailer"})
    assert "x-kept" in named
    assert [name for name, _ in headers].count("date") == 1


async def test_a_compressed_answer_is_passed_on_as_it_is(address: OwnAddress, model: Recorder) -> None:
    model.headers, model.body = [(b"Content-Encoding", b"gzip")], b"\x1f\x8bnot really"
    _, headers, body = await ask(address)
    assert (dict(headers)["content-encoding"], body) == ("gzip", b"\x1f\x8bnot really")


async def test_cookies_pass_only_where_the_host_is_the_models_own(address: OwnAddress, model: Recorder) -> None:
    model.headers = [
        *((b"Set-Cookie", b"a=1; Path=/; HttpOnly"), (b"set-cookie", b"b=2; Domain=localhost; Secure")),
        (b"Set-Cookie", b"c=3; domain = .models.localhost ;Path=/x"),
    ]
    _, headers, _ = await ask(address)
    assert [value for name, value in headers if name == "set-cookie"] == []
    _, headers, _ = await ask(address, by_host=True)
    cookies = [value for name, value in headers if name == "set-cookie"]
    assert cookies == ["a=1; Path=/; HttpOnly", "b=2; Secure", "c=3;Path=/x"]


@pytest.mark.parametrize(
    ("link", "below"),
    [
        ("/y", "/models/hello/y"),
        ("/y/?a=b%2Fc#d", "/models/hello/y/?a=b%2Fc#d"),
        ("/", "/models/hello/"),
        ("y", "y"),
        ("../y", "../y"),
        ("?a=b", "?a=b"),
        ("http://{host}/y?a", "/models/hello/y?a"),
        ("http://{host}/", "/models/hello/"),
        ("http://{host}", "/models/hello/"),
        ("//{host}/y", "/models/hello/y"),
        ("https://elsewhere.example/y", "https://elsewhere.example/y"),
        ("//elsewhere.example/y", "//elsewhere.example/y"),
        ("mailto:a@b.example", "mailto:a@b.example"),
        ("http://[bad/y", "http://[bad/y"),
        ("/models/hello/y", "/models/hello/y"),
        ("http://{host}/models/hello/y", "/models/hello/y"),
        ("/models/hello", "/models/hello"),
        ("/models/hello2", "/models/hello/models/hello2"),
    ],
)
async def test_a_link_of_the_model_leads_to_its_own_address(
    address: OwnAddress, model: Recorder, link: str, below: str
) -> None:
    model.status = 307
    model.headers = [(b"Location", link.format(host=address.host).encode())]
    _, headers, _ = await ask(address)
    assert dict(headers)["location"] == below.format(host=address.host)


@pytest.mark.parametrize("link", ["/y?a#b", "y", "https://elsewhere.example/y"])
async def test_a_link_stays_where_the_host_is_the_models_own(address: OwnAddress, model: Recorder, link: str) -> None:
    model.status = 302
    model.headers = [(b"Location", link.encode()), (b"Content-Location", link.encode())]
    _, headers, _ = await ask(address, by_host=True)
    assert (dict(headers)["location"], dict(headers)["content-location"]) == (link, link)


async def test_an_absolute_link_where_the_host_is_the_models_own_leads_there(
    address: OwnAddress, model: Recorder
) -> None:
    model.status, model.headers = 302, [(b"Location", f"http://{address.by_host}/y".encode())]
    _, headers, _ = await ask(address, by_host=True)
    assert dict(headers)["location"] in ("/y", f"http://{address.by_host}/y")


async def test_an_error_of_the_server_is_marked_and_in_the_callers_language(address: OwnAddress) -> None:
    key = address.texts[Role.OPERATOR]
    for language, word in (("en", "exist"), ("fr", "mod\u00e8le"), ("zh", "\u6a21\u578b")):
        status, headers, body = await address.send(
            f"GET /models/nothing/x HTTP/1.1\nHost: {address.host}\nX-API-Key: {key}\nAccept-Language: {language}"
        )
        error = json.loads(body)["error"]
        assert (status, error["code"], dict(headers)["x-atelier-error"]) == (404, "MODEL_NOT_FOUND", "MODEL_NOT_FOUND")
        assert word in error["message"].lower()


@pytest.mark.parametrize("by_host", [True, False])
async def test_what_holds_for_a_whole_host_passes_only_from_a_models_own(
    address: OwnAddress, model: Recorder, by_host: bool
) -> None:
    given = {"service-worker-allowed", "clear-site-data", "strict-transport-security", "alt-svc", "public-key-pins"}
    model.headers = [(name.title().encode(), b"/") for name in given]
    _, headers, _ = await ask(address, by_host=by_host)
    assert given & {name for name, _ in headers} == (given if by_host else set())
