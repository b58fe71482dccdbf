"""Bentos are brought in through the API of a real server, as ``bentoml export`` writes them."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.bentos.bento_archives import files, tar
from tests.support.calls import emptied, until
from tests.support.management_servers import ECHO, KEY, Management, echo_config, managing
from tests.support.running.sharing import made_once
from tests.support.servers import ROOT

pytestmark = pytest.mark.server

TAUGHT = ROOT / "tests" / "bentos" / "taught"
EXPORT = """
import sys, bentoml
folder = sys.argv[1]
with bentoml.models.create("lesson:1") as model:
    open(model.path_of("lesson.txt"), "w").write("Look twice.")
for source, version in (sys.argv[2:4], sys.argv[4:6]):
    bento = bentoml.bentos.build_bentofile(source + "/bentofile.yaml", version=version, build_ctx=source)
    for ending in ("bento", "gz", "bz2", "tar", "zip"):
        bento.export(f"{folder}/{bento.tag.name}.{ending}")
"""
STREAM = {"Content-Type": "application/octet-stream"}
LIMIT = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def exports() -> Path:
    """A folder with the exported Bentos ``echo`` and ``taught``, of which the second has a model."""

    def export(folder: Path) -> None:
        folder.mkdir()
        environment = {**os.environ, "BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
        command = [sys.executable, "-c", EXPORT, str(folder), str(ECHO), "1.0.0", str(TAUGHT), "1.0.0"]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    return made_once("exports", export)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's BentoML home."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Management]:
    with managing(store, ATELIER_BENTO_UPLOAD_BYTES=str(LIMIT), ATELIER_BENTO_FILES="200") as running:
        yield running


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    """A client of the server; the models and Bentos that a test leaves are deleted after it."""
    with emptied(server, wait=60) as client:
        yield client
    with server.client() as client:
        for bento in client.get("/bentos").json():
            assert client.delete(f"/bentos/{bento['name']}/{bento['version']}").status_code == 200


def push(api: httpx.Client, content: bytes, **headers: str) -> httpx.Response:
    return api.post("/bentos", content=content, headers={**STREAM, **headers})


def problem(answer: httpx.Response) -> dict[str, str]:
    (found,) = answer.json()["error"]["details"]["problems"]
    return dict(found)


@pytest.mark.parametrize("ending", ["bento", "gz", "bz2", "tar", "zip"])
def test_every_format_of_an_export_is_taken_and_the_same_again_changes_nothing(
    api: httpx.Client, exports: Path, ending: str
) -> None:
    content = (exports / f"echo.{ending}").read_bytes()
    first = push(api, content)
    assert (first.status_code, first.headers["location"]) == (201, "/api/v1/bentos/echo/1.0.0")
    again = push(api, (exports / "echo.bento").read_bytes())
    assert again.status_code == 200
    assert again.json() == first.json() == api.get("/bentos/echo/1.0.0").json()


def test_a_bento_is_described_by_its_files(api: httpx.Client, exports: Path) -> None:
    push(api, (exports / "taught.tar").read_bytes())
    about = api.get("/bentos/taught/1.0.0").json()
    assert about["tag"] == "taught:1.0.0"
    assert about["service"] == "Taught"
    assert about["models"] == ["lesson:1"]
    assert about["resources"] == {"cpu": "200m", "memory": "256Mi"}
    assert [(api["route"], api["output"]) for api in about["apis"]] == [("/recite", {"type": "string"})]
    assert about["deployments"] == []
    assert about["size_bytes"] > 1000


def test_a_bento_comes_with_its_model_and_runs(api: httpx.Client, exports: Path) -> None:
    assert push(api, (exports / "taught.gz").read_bytes()).status_code == 201
    config = echo_config("taught", docker_image="bentos/taught:1.0.0")
    answer = api.post("/models/deploy", params={"wait": 60}, json={"config": config})
    assert answer.status_code == 200, answer.text


def test_a_bento_that_is_deployed_or_may_be_rolled_back_to_is_not_deleted(api: httpx.Client, exports: Path) -> None:
    push(api, (exports / "echo.tar").read_bytes())
    push(api, tar(files()))
    assert api.post("/models/deploy", params={"wait": 60}, json={"config": echo_config()}).status_code == 200
    assert api.get("/bentos/echo/1.0.0").json()["deployments"] == [{"model_id": "echo", "live": True}]
    refused = api.delete("/bentos/echo/1.0.0")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "BENTO_IN_USE")
    assert refused.json()["error"]["details"] == {"bento": "echo:1.0.0", "models": ["echo"]}
    change = {"config": {"docker_image": "bentos/hello:1.0.0", "version": "2.0.0"}}  # it never starts
    assert api.put("/models/echo", json=change).status_code == 202
    assert api.delete("/bentos/echo/1.0.0").status_code == 409
    assert api.delete("/bentos/hello/1.0.0").status_code in (200, 409)  # 200 once the update was given up
    api.delete("/models/echo", params={"force": True, "wait": 60})
    assert api.delete("/bentos/echo/1.0.0").status_code == 200
    assert api.delete("/bentos/echo/1.0.0").json()["error"]["code"] == "BENTO_NOT_FOUND"


def test_another_content_under_the_tag_is_a_conflict(api: httpx.Client) -> None:
    assert push(api, tar(files())).status_code == 201
    refused = push(api, tar({**files(), "src/service.py": b"other"}))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "BENTO_ALREADY_EXISTS")


def test_bentos_are_listed_page_by_page(api: httpx.Client) -> None:
    for version in ("1.0.0", "1.0.1", "2.0.0"):
        push(api, tar(files(version=version)))
    push(api, tar(files(name="other")))
    page = api.get("/bentos", params={"name": "hello", "limit": 2})
    assert [bento["tag"] for bento in page.json()] == ["hello:1.0.0", "hello:1.0.1"]
    assert page.headers["x-total-count"] == "3"
    assert page.headers["link"] == '</api/v1/bentos?limit=2&offset=2&name=hello>; rel="next"'
    last = api.get("/bentos", params={"name": "hello", "limit": 2, "offset": 2})
    assert [bento["tag"] for bento in last.json()] == ["hello:2.0.0"]
    assert len(api.get("/bentos").json()) == 4


def test_a_digest_is_compared(api: httpx.Client) -> None:
    content = tar(files())
    digests = {name: b64encode(hashlib.new(name.replace("-", ""), content).digest()) for name in ("sha-256", "sha-512")}
    right = ", ".join(f"{name}=:{digest.decode()}:" for name, digest in digests.items())
    wrong = push(api, content + bytes(512), **{"Content-Digest": right})
    assert (wrong.status_code, problem(wrong)["problem"]) == (400, "digest")
    malformed = push(api, content, **{"Content-Digest": "sha-256=abc"})
    assert (malformed.status_code, problem(malformed)["problem"]) == (400, "header")
    assert push(api, content, **{"Content-Digest": f"crc32c=:AAAA:, {right}"}).status_code == 201


def test_a_hostile_archive_is_refused_with_the_member_and_leaves_nothing(api: httpx.Client) -> None:
    refused = push(api, tar({**files(), "../up": b""}))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "INVALID_BENTO")
    assert problem(refused) == {
        "field": "../up",
        "problem": "archive_path",
        "message": "is not a path inside the archive",
    }
    assert problem(push(api, tar({str(number): b"" for number in range(201)})))["problem"] == "archive_files"
    assert problem(push(api, tar(files(models=[{"tag": "absent:1"}]))))["message"].endswith("absent:1")
    assert api.get("/bentos").json() == []


def test_an_upload_beyond_the_limit_is_refused_whether_it_is_announced_or_not(api: httpx.Client) -> None:
    assert push(api, bytes(LIMIT + 1)).json()["error"]["code"] == "PAYLOAD_TOO_LARGE"
    pieces = (bytes(64 * 1024) for _ in range(LIMIT // (64 * 1024) + 1))
    unannounced = api.post("/bentos", content=pieces, headers=STREAM)
    assert (unannounced.status_code, unannounced.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_a_body_that_is_no_archive_by_its_type_is_refused(api: httpx.Client) -> None:
    refused = api.post("/bentos", json={})
    assert refused.status_code == 415
    assert "application/octet-stream" in refused.json()["error"]["message"]


def test_the_tag_of_a_path_is_that_of_a_bento_and_of_no_other_folder(api: httpx.Client) -> None:
    for path in ("/bentos/%2e%2e/bentos", "/bentos/hello/%2e%2e", "/bentos/hello/latest", "/bentos/a%2Fb/c"):
        assert api.get(path).status_code == 404
        assert api.delete(path).status_code == 404


def test_only_admins_push_and_delete_and_viewers_read(server: Management, api: httpx.Client) -> None:
    push(api, tar(files()))
    environment = {**os.environ, "ATELIER_HOME": str(server.home)}
    for role in ("viewer", "operator"):
        command = [sys.executable, "-m", "management", "keys", "create", role, "--role", role]
        key = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        with server.client(key.strip()) as other:
            until(lambda other=other: other.get("/bentos").status_code == 200)  # type: ignore[misc]
            assert other.get("/bentos/hello/1.0.0").status_code == 200
            assert push(other, tar(files())).status_code == 403
            assert other.delete("/bentos/hello/1.0.0").status_code == 403
    with server.client(None) as nobody:
        assert nobody.get("/bentos").status_code == 401
        assert push(nobody, tar(files())).status_code == 401


def test_a_caller_who_leaves_in_mid_upload_leaves_nothing(server: Management, api: httpx.Client, store: Path) -> None:
    connection = _half_an_upload(server)
    until(lambda: list(store.glob(".upload-*/archive")))
    connection.close()
    until(lambda: not list(store.glob(".upload-*")))
    assert push(api, tar(files())).status_code == 201


def test_a_server_that_is_killed_in_mid_upload_leaves_nothing_that_is_seen(tmp_path: Path) -> None:
    with managing(tmp_path) as first:
        connection = _half_an_upload(first)
        until(lambda: list(tmp_path.glob(".upload-*/archive")))
        os.kill(first.pid, signal.SIGKILL)
        connection.close()
        assert not (tmp_path / "bentos").exists()
        assert list(tmp_path.glob(".upload-*"))
        left = tmp_path / ".pushes" / "uploads" / "left"
        left.mkdir(parents=True)
        os.utime(left, (0, 0))
        with managing(tmp_path, home=first.home) as second, second.client() as api:
            assert not list(tmp_path.glob(".upload-*"))
            assert not left.exists()
            assert api.get("/bentos").json() == []
            assert push(api, tar(files())).status_code == 201


def _half_an_upload(server: Management) -> socket.socket:
    """Begin an upload, and return its connection, on which the rest is awaited."""
    content = os.urandom(2 * 1024 * 1024)
    host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
    connection = socket.create_connection((host or "", port or 0))
    head = f"POST /api/v1/bentos HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {2 * len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection
