"""Who may call a model at its own address, by which key, and which host names which model."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from management.domain.keys import Role
from tests.doubles.own_address import MODEL, OwnAddress, Recorder, own_address, serving_model

PREFIX = f"/models/{MODEL}"


@pytest.fixture
def model() -> Recorder:
    return Recorder()


@pytest.fixture
async def address(tmp_path: Path, model: Recorder) -> AsyncIterator[OwnAddress]:
    async with serving_model(tmp_path, model) as serving:
        yield serving


def basic(text: str, name: str = "anyone") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{text}".encode()).decode()


async def ask(
    address: OwnAddress, *lines: str, target: str = f"{PREFIX}/x", host: str = "", method: str = "GET"
) -> tuple[int, list[tuple[str, str]], bytes]:
    head = "\n".join((f"{method} {target} HTTP/1.1", f"Host: {host or address.host}", *lines))
    return await address.send(head)


async def test_without_a_key_nothing_reaches_the_model(address: OwnAddress, model: Recorder) -> None:
    for target in ("/x", "/", "/metrics", "/readyz", "/schema.json", "/static_content/x", "/docs.json"):
        status, headers, body = await ask(address, target=PREFIX + target)
        assert (status, dict(headers)["x-atelier-error"]) == (401, "UNAUTHORIZED")
        assert json.loads(body)["error"]["code"] == "UNAUTHORIZED"
    status, _, _ = await ask(address, target="/x", host=address.by_host)
    assert (status, model.scopes) == (401, [])


async def test_a_wrong_key_is_refused_and_too_many_are_stopped(address: OwnAddress, model: Recorder) -> None:
    statuses = [(await ask(address, "X-API-Key: wrong-key-1"))[0] for _ in range(2)]
    statuses += [(await ask(address, basic("wrong-key-2")))[0] for _ in range(2)]
    assert (statuses, model.scopes) == ([401, 401, 401, 429], [])


async def test_different_keys_in_one_request_are_a_wrong_key(address: OwnAddress) -> None:
    key, other = address.texts[Role.OPERATOR], address.texts[Role.ADMIN]
    assert (await ask(address, f"X-API-Key: {key}", f"Authorization: Bearer {other}"))[0] == 401
    assert (await ask(address, f"X-API-Key: {key}", f"Authorization: Bearer {key}"))[0] == 200


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
async def test_a_caller_of_models_may_call_every_path(address: OwnAddress, role: Role) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert (await ask(address, f"X-API-Key: {address.texts[role]}", method=method))[0] == 200


async def test_a_viewer_may_read_a_models_metrics_and_nothing_else(address: OwnAddress, model: Recorder) -> None:
    key = f"X-API-Key: {address.texts[Role.VIEWER]}"
    for target in ("/x", "/", "/metrics/x", "/metrics/", "/readyz", "//metrics", "/%6detrics/x"):
        status, headers, _ = await ask(address, key, target=PREFIX + target)
        assert (status, dict(headers)["x-atelier-error"]) == (403, "FORBIDDEN"), target
    assert (await ask(address, key, target=f"{PREFIX}/metrics", method="POST"))[0] == 403
    assert model.scopes == []
    assert (await ask(address, key, target=f"{PREFIX}/metrics"))[0] == 200
    assert (await ask(address, key, target=f"{PREFIX}/metrics", method="HEAD"))[0] == 200
    assert (await ask(address, key, target="/metrics", host=address.by_host))[0] == 200
    assert (await ask(address, key, target="/x", host=address.by_host))[0] == 403


@pytest.mark.parametrize("host", ["hello.models.localhost", "HELLO.Models.LOCALHOST", "hello.models.a.example:80"])
async def test_a_host_names_a_model(address: OwnAddress, model: Recorder, host: str) -> None:
    status, _, _ = await ask(address, f"X-API-Key: {address.texts[Role.OPERATOR]}", target="/y?z", host=host)
    assert (status, model.target) == (200, b"/y?z") if "Models" not in host else status in (200, 404)


@pytest.mark.parametrize(
    "host", ["nothing.models.localhost", "hello_.models.localhost", "nothing.models.localhost:8080"]
)
async def test_a_host_of_no_model_is_not_found(address: OwnAddress, model: Recorder, host: str) -> None:
    status, headers, _ = await ask(address, f"X-API-Key: {address.texts[Role.OPERATOR]}", target="/y", host=host)
    assert (status, dict(headers)["x-atelier-error"], model.scopes) == (404, "MODEL_NOT_FOUND", [])


@pytest.mark.parametrize(
    "host", ["models.localhost", "a.hello.models.localhost", "hello.model.localhost", "hello.models", "-.models.a"]
)
async def test_other_hosts_are_the_servers_own(address: OwnAddress, model: Recorder, host: str) -> None:
    key = f"X-API-Key: {address.texts[Role.OPERATOR]}"
    assert (await ask(address, key, target="/y", host=host))[0] == 404
    assert model.scopes == []
    assert (await ask(address, key, host=host))[0] == 200


async def test_the_host_of_the_servers_own_url_is_no_model(tmp_path: Path) -> None:
    async with own_address(tmp_path, public_url="https://hello.models.example.org") as address:
        key = f"X-API-Key: {address.texts[Role.OPERATOR]}"
        status, headers, _ = await ask(address, key, target="/y", host="hello.models.example.org")
        assert (status, "x-atelier-error" in dict(headers)) == (404, False)
        status, headers, _ = await ask(address, key, target="/y", host="hi.models.example.org")
        assert (status, dict(headers)["x-atelier-error"]) == (404, "MODEL_NOT_FOUND")


async def test_two_hosts_name_no_model(address: OwnAddress, model: Recorder) -> None:
    key = f"X-API-Key: {address.texts[Role.OPERATOR]}"
    status, _, _ = await ask(address, key, f"Host: {address.by_host}", target="/y", host=address.by_host)
    assert (status in (400, 404), model.scopes) == (True, [])


async def test_a_host_that_would_poison_links_reaches_no_model(address: OwnAddress, model: Recorder) -> None:
    key = f"X-API-Key: {address.texts[Role.OPERATOR]}"
    status, _, _ = await ask(address, key, host='evil.example/"><script>')
    if status == 200:
        assert model.got("x-forwarded-host") == []
        assert b"evil" not in b"".join(model.got("host"))


async def test_a_browser_is_asked_for_a_password_where_it_wants_a_page(address: OwnAddress) -> None:
    _, headers, _ = await ask(address, "Accept: text/html,application/xhtml+xml")
    assert any(name == "www-authenticate" and value.startswith("Basic ") for name, value in headers)
    for lines in ([], ["Accept: */*"], ["Accept: application/json"]):
        _, headers, _ = await ask(address, *lines)
        assert not any(name == "www-authenticate" and value.startswith("Basic ") for name, value in headers)
        assert any(name == "www-authenticate" and value.startswith("ApiKey ") for name, value in headers)


async def test_the_password_of_a_browser_is_the_key(address: OwnAddress, model: Recorder) -> None:
    key = address.texts[Role.OPERATOR]
    assert (await ask(address, basic(key), "Accept: text/html"))[0] == 200
    assert (await ask(address, basic(key, name="")))[0] == 200
    assert model.got("authorization") == []
    assert (await ask(address, "Authorization: Basic !!!"))[0] == 401
    assert (await ask(address, basic("")))[0] == 401


@pytest.mark.parametrize(
    ("lines", "method", "passes"),
    [
        ([], "POST", True),
        (["Origin: http://{host}"], "POST", True),
        (["Sec-Fetch-Site: same-origin"], "POST", True),
        (["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"], "GET", True),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], "GET", True),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], "POST", False),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], "GET", False),
        (["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"], "GET", False),
        (["Origin: https://evil.example"], "POST", False),
        (["Origin: null"], "POST", False),
        (["Origin: https://evil.example"], "GET", False),
    ],
)
async def test_another_site_cannot_use_the_password_of_a_browser(
    address: OwnAddress, model: Recorder, lines: list[str], method: str, *, passes: bool
) -> None:
    given = [line.format(host=address.host) for line in lines]
    status, headers, _ = await ask(address, basic(address.texts[Role.OPERATOR]), *given, method=method)
    assert (status, len(model.scopes)) == ((200, 1) if passes else (403, 0))
    assert dict(headers).get("x-atelier-error") == (None if passes else "FORBIDDEN")


async def test_another_site_may_send_a_key_that_it_knows_itself(address: OwnAddress) -> None:
    lines = ("Origin: https://friend.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors")
    assert (await ask(address, f"X-API-Key: {address.texts[Role.OPERATOR]}", *lines))[0] == 200
