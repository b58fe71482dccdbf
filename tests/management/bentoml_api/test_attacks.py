"""What callers try who may do less than they want: each was possible once."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Any

import httpx
import pytest
from httpx_ws import WebSocketDisconnect, WebSocketNetworkError, WebSocketSession, connect_ws
from wsproto.utilities import LocalProtocolError

from tests.support.bentos.bento_archives import bento_yaml, model_yaml, tar
from tests.support.calls import deploy, until
from tests.support.management_servers import KEY, Management

pytestmark = pytest.mark.server

BENTOS = "/api/v1/bento_repositories/hello/bentos"
MODELS = "/api/v1/model_repositories/odd/models"


def caller(server: Management, token: str) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"X-YATAI-API-TOKEN": token}, trust_env=False)


@pytest.fixture
def admin(server: Management) -> Iterator[httpx.Client]:
    with caller(server, KEY) as client:
        yield client


@pytest.fixture
def token(admin: httpx.Client) -> Iterator[dict[str, Any]]:
    """The token of a viewer."""
    made = admin.post("/api/v1/api_tokens", json={"name": "viewer", "scopes": ["read_cluster"]}).json()
    yield made
    admin.delete(f"/api/v1/api_tokens/{made['uid']}")


@pytest.fixture
def viewer(server: Management, token: dict[str, Any]) -> Iterator[httpx.Client]:
    with caller(server, token["token"]) as client:
        yield client


def test_a_viewer_does_not_see_the_upload_of_an_admin(admin: httpx.Client, viewer: httpx.Client) -> None:
    assert admin.post(BENTOS, json={"version": "v1", "manifest": {"a": 1}}).status_code == 200
    begun = admin.patch(f"{BENTOS}/v1/start_multipart_upload")
    assert begun.headers["cache-control"] == "no-store"
    assert viewer.get(f"{BENTOS}/v1").json()["upload_id"] == ""
    assert begun.json()["upload_id"] not in viewer.get(f"{BENTOS}/v1").text + admin.get(f"{BENTOS}/v1").text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/v1/bento_repositories/any/bentos/presign_download_url"),
        ("PUT", "/api/v2/deployments/presign_download_url"),
        ("DELETE", "/api/v2/deployments/presign_download_url"),
        ("POST", "/api/v1/bento_repositories/a/bentos/1/presign_download_url"),
        ("PATCH", "/api/v1/bento_repositories/a/bentos/x/1/presign_download_url"),
    ],
)
def test_the_end_of_a_path_makes_no_reader_a_writer(viewer: httpx.Client, method: str, path: str) -> None:
    assert viewer.request(method, path, json={"manifest": {}}).status_code == 403


def test_an_upload_url_opens_nothing_once_it_was_used(admin: httpx.Client) -> None:
    admin.post(MODELS.replace("odd", "once"), json={"version": "1", "manifest": {"a": 1}})
    signed = admin.patch(f"{MODELS.replace('odd', 'once')}/1/presign_upload_url").json()["presigned_upload_url"]
    archive = tar({"./model.yaml": model_yaml("once", "1")})
    assert [httpx.put(signed, content=archive, trust_env=False).status_code for _ in range(2)] == [200, 404]


def test_the_url_of_a_part_takes_no_whole_archive(admin: httpx.Client, server: Management) -> None:
    admin.post(MODELS.replace("odd", "part"), json={"version": "1", "manifest": {"a": 1}})
    upload = admin.patch(f"{MODELS.replace('odd', 'part')}/1/start_multipart_upload").json()["upload_id"]
    archive = tar({"./model.yaml": model_yaml("part", "1")})
    url = f"{server.url}/bentoml/uploads?id={upload}"
    assert httpx.put(url, content=archive, trust_env=False).status_code == 404
    assert httpx.put(f"{url}&part=1", content=archive, trust_env=False).status_code == 200


def test_an_upload_of_something_that_was_not_announced_leaves_none(admin: httpx.Client) -> None:
    assert admin.patch("/api/v1/model_repositories/never/models/1/start_multipart_upload").status_code == 404


def test_an_upload_of_another_tag_is_not_found(admin: httpx.Client) -> None:
    for version in ("1", "2"):
        admin.post(MODELS.replace("odd", "two"), json={"version": version, "manifest": {"a": 1}})
    upload = admin.patch(f"{MODELS.replace('odd', 'two')}/1/start_multipart_upload").json()["upload_id"]
    asked = {"upload_id": upload, "part_number": 1}
    answers = [
        admin.patch(f"{MODELS.replace('odd', 'two')}/{v}/presign_multipart_upload_url", json=asked) for v in "12"
    ]
    assert [answer.status_code for answer in answers] == [200, 404]
    for number in (0, -5, 10_001, True, "1"):
        asked = {"upload_id": upload, "part_number": number}
        wrong = admin.patch(f"{MODELS.replace('odd', 'two')}/1/presign_multipart_upload_url", json=asked)
        assert wrong.status_code == 400


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "never"])
def test_an_odd_bento_or_model_breaks_no_list(admin: httpx.Client, time: str) -> None:
    files = {"./bento.yaml": bento_yaml("1.0.0", name="odd", envs=5, creation_time=time), "./src/service.py": b""}
    sent = admin.put("/api/v1/bento_repositories/odd/bentos/1.0.0/upload", content=tar(files))
    assert sent.status_code in (200, 409)
    described = model_yaml("odd", "1") + f"creation_time: '{time}'\n".encode()
    assert admin.put(f"{MODELS}/1/upload", content=tar({"./model.yaml": described})).status_code in (200, 409)
    for path in ("bentos", "models", "bento_repositories", "bento_repositories/odd", "model_repositories/odd/models"):
        assert admin.get(f"/api/v1/{path}").status_code == 200, path


def test_a_viewer_sees_no_value_that_an_author_gave_a_variable(admin: httpx.Client, viewer: httpx.Client) -> None:
    files = {"./bento.yaml": bento_yaml("1.0.0", name="told", envs=[{"name": "TOK", "value": "sesame"}])}
    admin.put("/api/v1/bento_repositories/told/bentos/1.0.0/upload", content=tar(files | {"./src/service.py": b""}))
    for path in ("bento_repositories/told/bentos/1.0.0", "bento_repositories/told", "bentos"):
        assert "TOK" in viewer.get(f"/api/v1/{path}").text
        assert "sesame" not in viewer.get(f"/api/v1/{path}").text
    assert "sesame" in admin.get("/api/v1/bento_repositories/told/bentos/1.0.0").text


def test_one_of_many_that_create_a_secret_does(admin: httpx.Client) -> None:
    body = {"name": "race", "content": {"type": "env", "items": [{"key": "A_TOKEN", "value": "x"}]}}
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda _: admin.post("/api/v1/org_secrets", json=body).status_code, range(8)))
    assert statuses == [200] + [400] * 7
    admin.delete("/api/v1/org_secrets/race")


def test_keys_that_a_login_made_end_with_the_key_that_was_shown(
    admin: httpx.Client, server: Management, token: dict[str, Any]
) -> None:
    tokens = []
    with httpx.Client(base_url=server.url, trust_env=False) as browser:
        for _ in range(22):
            query = {"code": browser.get("/api/v1/auth/code").json()["code"]}
            assert browser.post("/api_tokens", params=query, data={"key": token["token"]}).status_code == 200
            tokens.append(browser.get("/api/v1/auth/token", params=query).json()["token"])
    statuses = [admin.get("/api/v1/auth/current", headers={"X-YATAI-API-TOKEN": each}).status_code for each in tokens]
    assert statuses == [401] * 2 + [200] * 20
    admin.delete(f"/api/v1/api_tokens/{token['uid']}")
    current = "/api/v1/auth/current"
    until(
        lambda: all(admin.get(current, headers={"X-YATAI-API-TOKEN": each}).status_code == 401 for each in tokens[-3:])
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "t", "scopes": []}, "scopes"),
        ({"name": "t", "expired_at": "9999-12-31T23:59:59-14:00"}, "expired_at"),
        ({"name": "t", "expired_at": "2001-01-01 00:00:00"}, "past"),
        ({"name": "ATELIER_API_KEY (weak)"}, "name"),
        ({"name": "bentoml login of x"}, "name"),
        ({"name": "a\nb"}, "name"),
    ],
)
def test_a_token_that_cannot_be_is_refused(admin: httpx.Client, body: dict[str, Any], words: str) -> None:
    refused = admin.post("/api/v1/api_tokens", json=body)
    assert (refused.status_code, words in refused.text) == (400, True)


def test_the_last_key_of_an_admin_cannot_be_deleted(admin: httpx.Client) -> None:
    own = admin.get("/api/v1/auth/current").json()["uid"]
    assert admin.delete(f"/api/v1/api_tokens/{own}").status_code == 400
    assert admin.get("/api/v1/auth/current").status_code == 200


def replica_of(api: httpx.Client) -> str:
    """Deploy the echo, and return the id of its replica."""
    deploy(api).raise_for_status()
    (replica,) = api.get("/models/echo/status").json()["replica_details"]
    return str(replica["replica_id"])


def tail(client: httpx.Client, pod: str) -> AbstractContextManager[WebSocketSession]:
    """Open the websocket of a pod's log."""
    return connect_ws(f"{client.base_url}/ws/v1/clusters/default/tail?pod_name={pod}", client)


def closed(socket: WebSocketSession) -> int:
    """Read until the server closes the websocket, and return the code."""
    try:
        while True:
            socket.receive_text(timeout=20)
    except WebSocketDisconnect as ended:
        return ended.code


def test_a_revoked_keys_websocket_ends(
    admin: httpx.Client, api: httpx.Client, server: Management, pushed: None
) -> None:
    replica = replica_of(api)
    made = admin.post("/api/v1/api_tokens", json={"name": "short", "scopes": ["read_cluster"]}).json()
    with caller(server, made["token"]) as short, tail(short, replica) as socket:
        socket.send_text('{"type": "data", "payload": {"follow": true}}')
        admin.delete(f"/api/v1/api_tokens/{made['uid']}")
        assert closed(socket) == 1008


@pytest.mark.parametrize("message", [b"\x00", "{", "[]", '{"type": "data", "payload": 5}', '{"type": "heartbeat"}'])
def test_an_odd_message_ends_no_websocket_with_a_failure(admin: httpx.Client, message: str | bytes) -> None:
    with tail(admin, "none") as socket:
        if isinstance(message, bytes):
            socket.send_bytes(message)
        else:
            socket.send_text(message)
        with suppress(WebSocketNetworkError, LocalProtocolError):  # the first message may have been the question
            socket.send_text('{"type": "data", "payload": {}}')
        assert json.loads(socket.receive_text(timeout=20))["type"] == "error"


def test_what_a_model_writes_commands_no_terminal(admin: httpx.Client, api: httpx.Client, pushed: None) -> None:
    replica = replica_of(api)
    api.post("/models/echo/inference", json={"input_data": {"print": "\x1b]0;mine\x07 marked"}}).raise_for_status()
    with tail(admin, replica) as socket:
        socket.send_text('{"type": "data", "payload": {"follow": true}}')
        text = ""
        while "marked" not in text:
            text += b64decode(json.loads(socket.receive_text(timeout=20))["payload"]["items"][0]).decode()
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/bentos", 200),
        ("GET", "/api/v2/deployments", 200),
        ("GET", "/api/v2/deployments/none", 404),
        ("GET", "/api/v1/bentos/", 307),
        ("GET", "/api/v1/auth/code", 200),
        ("GET", "/api_tokens", 404),
        ("GET", "/deployments/none", 303),
        ("POST", "/api/v1/api_tokens", 400),
    ],
)
def test_nothing_on_its_way_keeps_an_answer(admin: httpx.Client, method: str, path: str, status: int) -> None:
    answer = admin.request(method, path)
    assert (answer.status_code, answer.headers.get_list("cache-control")) == (status, ["no-store"])


ODD_HOSTS = ["evil.example:99999", "a b", "me@evil.example", "evil.example/x?y", "[::1", "evil.example\\x"]


def urls_at(admin: httpx.Client, host: str) -> list[str]:
    """The URLs that a caller is given who names this host; no cache may keep them."""
    answers = [
        admin.patch(f"{MODELS.replace('odd', 'host')}/1/presign_upload_url", headers={"Host": host}),
        admin.get("/api/v2/deployments/echo", headers={"Host": host}),
    ]
    assert [each.headers["cache-control"] for each in answers] == ["no-store"] * 2
    signed, deployed = (each.json() for each in answers)
    return [signed["presigned_upload_url"], *deployed["urls"]]


def test_a_false_host_gives_false_urls_to_its_sender_alone(
    admin: httpx.Client, api: httpx.Client, server: Management, pushed: None
) -> None:
    deploy(api).raise_for_status()
    admin.post(MODELS.replace("odd", "host"), json={"version": "1", "manifest": {"a": 1}})
    own = server.url.removeprefix("http://")
    assert all(url.startswith("http://evil.example/") for url in urls_at(admin, "evil.example"))
    for host in (own, *ODD_HOSTS):
        assert all(url.startswith(f"{server.url}/") for url in urls_at(admin, host)), host
    forwarded = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Forwarded-Proto": "https"}
    told = admin.get("/api/v2/deployments/echo", headers=forwarded).json()
    assert told["urls"] == [f"{server.url}/models/echo"]
