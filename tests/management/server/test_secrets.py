"""Secrets on a real server: the replica has them, and nothing that stays or is shown does."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from management.backends.replica.received_secrets import MEMORY
from management.backup.archive import back_up
from management.domain.clock import now
from management.domain.keys import Role, make
from management.settings import StorageSettings
from management.store import Store
from tests.support.calls import deploy, emptied, hosts, infer, quick, status, until
from tests.support.management_servers import Management

pytestmark = pytest.mark.server

VALUE = "hf_9f8e7d6c5b4a-the-first-value"
LATER = "hf_0a1b2c3d4e5f-the-later-value"
FILE = '{"private_key": "the-content-of-a-file-0123456789"}'
NEEDLES = (VALUE.encode(), LATER.encode(), b"the-content-of-a-file-0123456789", b64encode(FILE.encode()))


@pytest.fixture(scope="module")
def server(echo_bentos: Path) -> Iterator[Management]:
    with quick(echo_bentos) as running:
        yield running


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    with emptied(server) as client:
        yield client
    with server.client() as client:
        for secret in client.get("/secrets").json():
            assert client.delete(f"/secrets/{secret['name']}").status_code == 200


def put(api: httpx.Client, name: str = "hf", value: str = VALUE, **fields: object) -> httpx.Response:
    return api.put(f"/secrets/{name}", json={"variables": {"HF_TOKEN": value}, **fields})


def put_file(api: httpx.Client) -> httpx.Response:
    files = {"gcp/key.json": b64encode(FILE.encode()).decode()}
    return put(api, files=files, paths={"GOOGLE_APPLICATION_CREDENTIALS": "gcp/key.json"})


def seen(api: httpx.Client, *names: str) -> dict[str, Any]:
    answer = infer(api, {"environment": list(names)}, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["output_data"]
    return found


def holding(folder: Path) -> list[Path]:
    """The files below a folder with a value of a secret."""
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and any(needle in file.read_bytes() for needle in NEEDLES)
    ]


def left_in_memory() -> list[str]:
    return [str(path) for path in Path(MEMORY).glob("atelier-*")]


def test_a_replica_has_its_secrets_and_nothing_that_stays_has_them(
    server: Management, api: httpx.Client, tmp_path: Path
) -> None:
    made = put_file(api)
    assert made.status_code == 201
    assert deploy(api, secrets=["hf"]).status_code == 200
    found = seen(api, "HF_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "ATELIER_SECRETS")
    assert found["HF_TOKEN"]["value"] == VALUE
    key = found["GOOGLE_APPLICATION_CREDENTIALS"]
    assert (key["content"], key["mode"]) == (FILE, "0o400")
    folder = Path(found["ATELIER_SECRETS"]["value"])
    assert key["value"] == str(folder / "hf" / "gcp" / "key.json")
    assert folder.stat().st_mode & 0o777 == 0o700
    for replica in hosts(server):
        for process in (replica, *replica.parents()[:1], *replica.children(recursive=True)):
            assert not {value for value in process.environ().values() if VALUE in value}
            assert VALUE not in " ".join(process.cmdline())
            for number in Path(f"/proc/{process.pid}/fd").iterdir():
                if "atelier-secrets" in os.readlink(number):
                    assert number.read_bytes() == b"", "it was wiped when it was read"
    shown = status(api)
    assert shown["config"]["secrets"] == ["hf"]
    events = api.get("/models/echo/events").text
    logs = api.get("/models/echo/logs").text
    listed = api.get("/secrets").text
    for text in (made.text, json.dumps(shown), events, logs, listed, server.log.read_text()):
        assert not [needle for needle in NEEDLES if needle.decode() in text]
    archive = tmp_path / "archive.tar.gz"
    contents = back_up(StorageSettings(home=server.home), archive)
    assert "state/atelier.db" in contents.files
    assert not [name for name in contents.files if name.endswith("secrets.key")], "no archive has the key"
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    assert holding(tmp_path / "unpacked") == []
    assert holding(server.home) == []
    key_file = server.home / "secrets.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert api.post("/models/echo/scale", params={"wait": 30}, json={"replicas": 0}).status_code == 200
    until(lambda: not folder.exists())


def test_a_killed_replica_leaves_no_file_of_its_secrets(server: Management, api: httpx.Client) -> None:
    put_file(api)
    deploy(api, secrets=["hf"])
    first = seen(api, "ATELIER_SECRETS")["ATELIER_SECRETS"]["value"]
    (replica,) = {process.pid for process in hosts(server)}
    os.kill(replica, signal.SIGKILL)
    until(lambda: not Path(first).exists())
    until(lambda: status(api)["replicas"]["ready"] == 1 and replica not in {host.pid for host in hosts(server)})
    assert seen(api, "HF_TOKEN")["HF_TOKEN"]["value"] == VALUE


def test_a_changed_secret_is_rolled_out_by_an_update_that_names_it_again(api: httpx.Client) -> None:
    put(api)
    deploy(api, secrets=["hf"])
    same = put(api)
    changed = put(api, value=LATER)
    assert (same.status_code, changed.status_code) == (200, 200)
    assert changed.json()["version"] != same.json()["version"]
    assert changed.json()["model_ids"] == ["echo"]
    assert "update each model" in changed.json()["message"]
    assert seen(api, "HF_TOKEN")["HF_TOKEN"]["value"] == VALUE, "what runs keeps what it was started with"
    done = api.put("/models/echo", params={"wait": 60}, json={"config": {"secrets": ["hf"]}})
    assert done.status_code == 200, done.text
    assert seen(api, "HF_TOKEN")["HF_TOKEN"]["value"] == LATER
    assert status(api)["revision"] == 2
    api.put("/models/echo", params={"wait": 60}, json={"config": {"secrets": ["hf"]}})
    assert status(api)["revision"] == 2, "nothing has changed since"
    actions = [(event["action"], event["details"]) for event in api.get("/models/echo/events").json()]
    assert ("secret_changed", {"secret": "hf"}) in actions


def test_a_secret_that_a_model_names_is_not_deleted(api: httpx.Client) -> None:
    put(api)
    deploy(api, secrets=["hf"])
    refused = api.delete("/secrets/hf")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "SECRET_IN_USE")
    assert refused.json()["error"]["details"] == {"secret": "hf", "model_ids": ["echo"]}
    assert api.put("/models/echo", params={"wait": 60}, json={"config": {"secrets": []}}).status_code == 200
    assert seen(api, "HF_TOKEN")["HF_TOKEN"]["value"] is None
    assert api.delete("/secrets/hf").json() == {"message": "Secret hf is deleted"}
    assert api.delete("/secrets/hf").json()["error"]["code"] == "SECRET_NOT_FOUND"


def test_a_model_with_an_unknown_secret_is_refused_with_its_name(api: httpx.Client) -> None:
    answer = deploy(api, secrets=["absent"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_MODEL_CONFIG")
    (problem,) = answer.json()["error"]["details"]["problems"]
    assert (problem["field"], problem["problem"]) == ("config.secrets", "secret_absent")
    assert "absent" in problem["message"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_an_admin_sees_that_there_are_secrets(server: Management, api: httpx.Client, role: Role) -> None:
    put(api)
    other = make("other", role, now())
    store = Store(f"sqlite:///{server.home / 'atelier.db'}")
    with store.writing() as session:
        session.keys.add(other.key)
    store.close()
    with server.client(other.text) as client:
        until(lambda: client.get("/models").status_code == 200)
        for path in ("/secrets", "/secrets/hf", "/secrets/"):
            assert client.get(path).status_code == 403
        assert put(client).status_code == 403
        assert client.delete("/secrets/hf").status_code == 403


def test_without_its_key_a_model_does_not_start_and_says_which_secret_it_lacks(
    server: Management, api: httpx.Client
) -> None:
    put(api)
    deploy(api, secrets=["hf"])
    key = server.home / "secrets.key"
    content = key.read_bytes()
    key.unlink()
    try:
        refused = deploy(api, "other", secrets=["hf"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SECRETS_UNREADABLE")
        assert refused.json()["error"]["details"] == {"secret": "hf", "reason": "the key file is missing"}
        assert put(api, value=LATER).status_code == 503, "no other key takes its place"
        assert not key.exists()
        assert [secret["name"] for secret in api.get("/secrets").json()] == ["hf"]
        os.kill(hosts(server)[0].pid, signal.SIGKILL)
        reason = "secret 'hf' cannot be read: the key file is missing"
        until(lambda: reason in json.dumps(status(api)))
    finally:
        key.write_bytes(content)
    until(lambda: status(api)["replicas"]["ready"] == 1 or status(api)["status"] == "failed")


def test_nothing_is_left_in_memory_when_all_models_are_gone(server: Management, api: httpx.Client) -> None:
    before = left_in_memory()
    put_file(api)
    deploy(api, secrets=["hf"])
    assert left_in_memory() != before
    api.delete("/models/echo", params={"wait": 60})
    assert left_in_memory() == before
    assert psutil.pid_exists(server.pid)
