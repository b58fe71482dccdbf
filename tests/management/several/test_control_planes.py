"""Two control planes, one database, one shared store: what one takes in, the other has."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from management.domain.bento_tag import StoredKind
from management.packaging.archives.pack import pack
from tests.management.several.planes import Planes, planes
from tests.support.bentos.bento_archives import files, tar
from tests.support.calls import deploy, infer, until
from tests.support.management_servers import KEY, Management, copied_echo
from tests.support.object_stores import VARIABLES, Bucket, temporary_bucket

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The echo's archive."""
    home = copied_echo(tmp_path_factory.mktemp("echo"))
    return b"".join(pack(home / "bentos" / "echo" / "1.0.0", StoredKind.BENTO).pieces())


@pytest.fixture
def pair() -> Iterator[tuple[Planes, Management, Management]]:
    with planes() as found:
        yield found, found.join("a"), found.join("b")


def push(plane: Management, archive: bytes) -> httpx.Response:
    with plane.client() as client:
        return client.post("/bentos", content=archive, headers={"Content-Type": "application/x-tar"})


def listed(plane: Management) -> list[str]:
    with plane.client() as client:
        answer = client.get("/bentos")
    assert answer.status_code == 200, answer.text
    return [bento["tag"] for bento in answer.json()]


def answer(plane: Management) -> int:
    with plane.client() as client:
        return infer(client, {"text": "hello"}).status_code


def yatai(plane: Management) -> httpx.Client:
    """Return a client that calls as BentoML's commands do."""
    headers = {"X-YATAI-API-TOKEN": KEY}
    return httpx.Client(base_url=plane.url, headers=headers, timeout=60, trust_env=False)


def through(plane: Management, url: str) -> str:
    """Return a URL with the control plane as its host."""
    parts = urlsplit(url)
    return f"{plane.url}{parts.path}?{parts.query}"


def test_a_bento_pushed_at_one_is_deployed_called_and_deleted_through_the_other(
    pair: tuple[Planes, Management, Management], echo: bytes
) -> None:
    found, a, b = pair
    assert push(b, echo).status_code == 201
    assert push(a, echo).status_code == 200
    assert listed(a) == listed(b) == ["echo:1.0.0"]
    with b.client() as client:
        assert deploy(client).status_code == 200
    assert (found.bentoml_home("a") / "bentos" / "echo" / "1.0.0" / "bento.yaml").is_file()
    for plane in (a, b):
        until(lambda plane=plane: answer(plane) == 200)  # type: ignore[misc]
    with a.client() as client:
        assert client.delete("/bentos/echo/1.0.0").status_code == 409
        assert client.delete("/models/echo", params={"wait": 60}).status_code == 200
        assert client.delete("/bentos/echo/1.0.0").status_code == 200
    assert listed(b) == []
    with b.client() as client:
        assert client.get("/bentos/echo/1.0.0").status_code == 404
        assert deploy(client).json()["error"]["code"] == "INVALID_MODEL_CONFIG"


def test_another_content_under_the_tag_is_refused_by_all(pair: tuple[Planes, Management, Management]) -> None:
    _, a, b = pair
    assert push(a, tar(files())).status_code == 201
    refused = push(b, tar({**files(), "src/service.py": b"other"}))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "BENTO_ALREADY_EXISTS")


def test_the_steps_of_an_upload_in_parts_arrive_at_different_control_planes(
    pair: tuple[Planes, Management, Management], echo: bytes
) -> None:
    _, a, b = pair
    path = "/api/v1/bento_repositories/echo/bentos"
    parts = [echo[start : start + 20_000] for start in range(0, len(echo), 20_000)]
    with yatai(a) as at_a, yatai(b) as at_b:
        assert at_a.post(path, json={"version": "1.0.0", "manifest": {"name": "echo"}}).status_code == 200
        upload_id = at_b.patch(f"{path}/1.0.0/start_multipart_upload").json()["upload_id"]
        sent = []
        for number, part in enumerate(parts, start=1):
            asked, other = (at_a, b) if number % 2 else (at_b, a)
            body = {"part_number": number, "upload_id": upload_id}
            url = asked.patch(f"{path}/1.0.0/presign_multipart_upload_url", json=body).json()["presigned_upload_url"]
            put = httpx.put(through(other, url), content=part, trust_env=False)
            assert put.status_code == 200, put.text
            sent.append({"part_number": number, "etag": put.headers["ETag"]})
        done = {"parts": sent, "upload_id": upload_id}
        assert at_a.patch(f"{path}/1.0.0/complete_multipart_upload", json=done).status_code == 200
        assert at_b.patch(f"{path}/1.0.0/complete_multipart_upload", json=done).status_code == 404
        assert listed(b) == ["echo:1.0.0"]
        url = at_a.patch(f"{path}/1.0.0/presign_download_url").json()["presigned_download_url"]
        assert len(sent) > 1
        assert httpx.get(through(b, url), trust_env=False).content == at_b.get(f"{path}/1.0.0/download").content


def test_a_control_plane_whose_key_file_is_another_does_not_start(tmp_path: Path) -> None:
    with planes() as found:
        a = found.join("a")
        with a.client() as client:
            assert client.put("/secrets/token", json={"variables": {"TOKEN": "t"}}).status_code in (200, 201)
        other = tmp_path / "other.key"
        other.write_text("A" * 43 + "=\n")
        with pytest.raises(RuntimeError, match="copy the key file of another control plane"):
            found.join("c", ATELIER_SECRETS_KEY_FILE=str(other))
        found.join("b")
        for name in ("instance.secret", "login.key"):
            assert (found.folder / "a" / name).read_bytes() == (found.folder / "b" / name).read_bytes()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with temporary_bucket() as found:
        yield found


@pytest.mark.slow
def test_ready_models_serve_and_replicas_start_while_the_store_hangs(bucket: Bucket, echo: bytes) -> None:
    with planes(bucket.url("hangs"), **VARIABLES) as found:
        a, b = found.join("a"), found.join("b")
        assert push(a, echo).status_code == 201
        with a.client() as client:
            assert deploy(client).status_code == 200
        until(lambda: answer(b) == 200)
        with bucket.frozen(), b.client() as client:
            for plane in (a, b):
                with plane.client() as other:
                    refused = other.get("/bentos")
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SHARED_STORE_UNAVAILABLE")
                assert "retry-after" in refused.headers
            assert push(b, echo).status_code == 503
            scaled = client.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 2})
            assert scaled.status_code == 200, scaled.text
            for plane in (a, b):
                with plane.client() as other:
                    assert [infer(other, {}).status_code for _ in range(50)] == [200] * 50
        until(lambda: [_status(plane, "/bentos") for plane in (a, b)] == [200, 200])
        assert listed(a) == listed(b) == ["echo:1.0.0"]


def _status(plane: Management, path: str) -> int:
    with plane.client() as client:
        return client.get(path).status_code


def test_a_control_plane_killed_in_the_middle_of_a_push_has_listed_nothing(bucket: Bucket, echo: bytes) -> None:
    with planes(bucket.url("killed"), **VARIABLES) as found:
        a, b = found.join("a"), found.join("b")
        outcomes: list[str] = []

        def pushing() -> None:
            try:
                outcomes.append(str(push(a, echo).status_code))
            except httpx.TransportError:
                outcomes.append("broken")

        with bucket.frozen():
            thread = threading.Thread(target=pushing)
            thread.start()
            until(lambda: list(found.bentoml_home("a").glob(".upload-*/unpacked/atelier.content")))
            os.kill(a.pid, signal.SIGKILL)
            thread.join()
        assert outcomes == ["broken"]
        until(lambda: _status(b, "/bentos") == 200)
        assert listed(b) == []
        assert not (found.bentoml_home("a") / "bentos" / "echo").exists()
        assert push(b, echo).status_code == 201
        assert listed(b) == ["echo:1.0.0"]
