"""A real server of the management on a local BentoCloud: from a request to what serves there, and back."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.doubles.bentocloud.server import TOKEN, LocalCloud, local_cloud
from tests.support.calls import Load, deploy, infer, status, until
from tests.support.management_servers import Management, managing

ENTRY = "token-of-endpoints-only-5d2b"
NEW = "token-of-tomorrow-88fe"
FAILS = ["image-building", "image-build-failed"]


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    with local_cloud() as running:
        yield running


def served(
    cloud: LocalCloud, bentos: Path, token: Path, home: Path | None = None, entry: Path | None = None
) -> AbstractContextManager[Management]:
    return managing(
        bentos,
        home=home,
        ATELIER_BACKEND="bentocloud",
        ATELIER_CLOUD_TOKEN_FILE=str(token),
        ATELIER_CLOUD_ENDPOINT_TOKEN_FILE=str(entry or token),
        ATELIER_CLOUD_ENDPOINT=cloud.url,
        ATELIER_ENGINE_SECONDS="0.5",
        ATELIER_DRAIN_SECONDS="1",
        ATELIER_RETRY_SECONDS="0.2",
        ATELIER_START_SECONDS="2",
    )


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the token."""
    return written(tmp_path_factory.mktemp("secret") / "token", TOKEN)


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the token of models."""
    return written(tmp_path_factory.mktemp("secret") / "entry", ENTRY)


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def server(cloud: LocalCloud, echo_bentos: Path, token: Path, entry: Path) -> Iterator[Management]:
    with served(cloud, echo_bentos, token, entry=entry) as running:
        yield running


@pytest.fixture
def api(server: Management, cloud: LocalCloud) -> Iterator[httpx.Client]:
    cloud.reset()
    cloud.entry = ENTRY
    with server.client(**{"Accept-Language": "en"}) as client:
        yield client
        for model in client.get("/models").json():
            changed(client.delete(f"/models/{model['model_id']}", params={"force": True, "wait": 30}))


def changed(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def scale(api: httpx.Client, replicas: int) -> dict[str, Any]:
    return changed(api.post("/models/echo/scale", params={"wait": 30}, json={"replicas": replicas}))


def update(api: httpx.Client, version: str, wait: int = 30) -> httpx.Response:
    config = {
        "version": version,
        "docker_image": f"tests/echo:{version}",
        "environment_variables": {"ECHO_VERSION": version},
    }
    return api.put("/models/echo", params={"wait": wait}, json={"config": config})


def test_a_model_s_life_on_bentocloud(server: Management, api: httpx.Client, cloud: LocalCloud) -> None:
    changed(deploy(api))
    assert status(api)["replicas"] == {"desired": 1, "current": 1, "ready": 1}
    answer = changed(infer(api, {"n": 1}))
    assert answer["output_data"] == {"echo": {"n": 1}, "version": "1.0.0", "on": "echo"}
    assert cloud.asked == [("echo", f"Bearer {ENTRY}")], "the token that may deploy is nothing for a model"

    assert scale(api, 3)["current_replicas"] == 3
    (service,) = cloud.deployments["echo"].config["services"].values()
    assert (service["scaling"]["min_replicas"], service["scaling"]["max_replicas"]) == (3, 3)

    with Load(server) as load:
        changed(update(api, "2.0.0"))
        until(lambda: load.versions["2.0.0"])
    assert set(load.statuses) == {200}, load.refusals
    assert status(api)["replicas"] == {"desired": 3, "current": 3, "ready": 3}
    lines = [one["lines"] for one in api.get("/models/echo/logs", params={"tail": 1}).json()["replicas"]]
    assert lines == [[f"echo-{number}: last"] for number in range(3)]

    scale(api, 0)
    until(lambda: cloud.deployments["echo"].status == "terminated")
    assert status(api)["status"] == "stopped"
    assert infer(api, {}).json()["error"]["code"] == "MODEL_NOT_READY"
    scale(api, 1)
    assert infer(api, {}).status_code == 200

    changed(api.delete("/models/echo", params={"wait": 30}))
    assert cloud.deployments == {}
    assert cloud.made() == 1
    assert secretive(server)


def secretive(server: Management) -> bool:
    """Whether no token is in anything that the server writes, or in a process's environment or arguments."""
    own = psutil.Process(server.pid)
    others = own.children(recursive=True)
    assert others, "it calls BentoCloud from another process"
    processes = "".join(str(one.environ()) + str(one.cmdline()) for one in (own, *others))
    files = [one.read_bytes() for one in (server.log, *server.home.rglob("*")) if one.is_file()]
    return not any(one in processes or any(one.encode() in file for file in files) for one in (TOKEN, ENTRY))


def test_a_stop_lets_requests_in_flight_be_answered(server: Management, api: httpx.Client, cloud: LocalCloud) -> None:
    changed(deploy(api))
    cloud.seconds = 0.8
    with Load(server, callers=1) as load:
        until(lambda: cloud.asked)
        api.post("/models/echo/scale", json={"replicas": 0})
        until(lambda: "MODEL_NOT_READY" in str(load.refusals))
    assert load.statuses[200] >= 1
    assert not [one for one in load.refusals if "MODEL_NOT_READY" not in one]


def test_the_token_follows_no_redirect(api: httpx.Client, cloud: LocalCloud) -> None:
    changed(deploy(api))
    with local_cloud() as other:
        cloud.elsewhere = f"{other.url}/api/v1/auth/current"
        assert infer(api, {}).json()["error"]["code"] == "MODEL_FAILED"
        assert other.calls == []


def test_a_file_without_a_token_breaks_nothing_and_a_new_token_is_taken(
    api: httpx.Client, cloud: LocalCloud, token: Path, entry: Path
) -> None:
    try:
        entry.unlink()
        token.write_text("")
        changed(deploy(api))
        assert infer(api, {}).status_code == 200
        for file in (token, entry):
            file.write_text(NEW)
        cloud.token = cloud.entry = NEW
        changed(deploy(api, "second"))
        assert [infer(api, {}, one).status_code for one in ("echo", "second")] == [200, 200]
    finally:
        token.write_text(TOKEN)
        entry.write_text(ENTRY)
        cloud.token, cloud.entry = TOKEN, ENTRY


def test_an_update_that_fails_leaves_what_served_before(api: httpx.Client, cloud: LocalCloud) -> None:
    changed(deploy(api))
    cloud.scripts = [FAILS]
    refused = update(api, "2.0.0")
    assert refused.status_code == 500
    assert refused.json()["error"]["details"]["reason"] == "BentoCloud says: image-build-failed"
    until(lambda: cloud.deployments["echo"].config["bento"] == "echo:1.0.0" and status(api)["revision"] == 1)
    until(lambda: cloud.deployments["echo"].status == "running")
    assert infer(api, {}).json()["output_data"]["version"] == "1.0.0"
    assert "2.0.0" in status(api)["message"]


def test_a_first_start_that_fails_says_why_and_the_next_wish_is_tried_anew(
    api: httpx.Client, cloud: LocalCloud
) -> None:
    cloud.scripts = [FAILS]
    failed = deploy(api)
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "DEPLOYMENT_FAILED")
    assert (status(api)["status"], "image-build-failed" in status(api)["message"]) == ("failed", True)
    scale(api, 1)
    assert status(api)["status"] == "running"
    too_large = deploy(api, "large", resource_requirements={"cpu": "64", "memory": "128Mi"})
    assert "no instance type" in too_large.json()["error"]["details"]["reason"]


@pytest.mark.slow
def test_what_happens_there_is_followed(api: httpx.Client, cloud: LocalCloud) -> None:
    changed(deploy(api))
    there = cloud.deployments["echo"]
    there.counted = 3
    until(lambda: status(api)["replicas"] == {"desired": 3, "current": 3, "ready": 3})
    there.becomes("scaled-to-zero")
    until(lambda: status(api)["replicas"]["ready"] == 1)
    assert infer(api, {}).status_code == 200
    there.becomes("unhealthy")
    until(lambda: status(api)["status"] == "failed")
    there.becomes("running")
    until(lambda: status(api)["status"] == "running")
    there.becomes("terminated")
    until(lambda: status(api)["status"] == "failed")
    assert "stopped on the platform" in status(api)["message"]
    there.counted = None
    scale(api, 2)
    assert status(api)["replicas"]["ready"] == 2
    del cloud.deployments["echo"]
    until(lambda: "echo" in cloud.deployments and status(api)["replicas"]["ready"] == 2)


def test_a_cloud_that_is_away_changes_nothing_and_is_found_again(
    api: httpx.Client, cloud: LocalCloud, server: Management
) -> None:
    changed(deploy(api))
    cloud.fault, cloud.faulty = "503", re.compile("^/(api|ws)/")
    until(lambda: api.get("/health").json()["backend_state"] == "unavailable")
    assert deploy_soon(api, "later").status_code == 202
    refused = infer(api, {}, "later")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert infer(api, {}).status_code == 200, "what runs there runs on"
    assert status(api)["status"] == "running"
    cloud.fault = None
    until(lambda: status(api, "later")["status"] == "running")
    until(lambda: api.get("/health").json()["status"] == "healthy")
    assert secretive(server)


def deploy_soon(api: httpx.Client, model_id: str) -> httpx.Response:
    config = {**deployed_config(model_id), "scaling_config": {"max_replicas": 2}}
    return api.post("/models/deploy", json={"config": config})


def deployed_config(model_id: str) -> dict[str, object]:
    from tests.support.management_servers import echo_config

    return echo_config(model_id)


@pytest.mark.slow
def test_a_server_that_is_killed_finds_what_it_ordered_and_orders_nothing_twice(
    cloud: LocalCloud, echo_bentos: Path, token: Path, tmp_path: Path
) -> None:
    cloud.reset()
    cloud.pace = 1.0
    with served(cloud, echo_bentos, token, tmp_path) as first, first.client() as api:
        assert deploy_soon(api, "echo").status_code == 202
        until(lambda: "echo" in cloud.deployments)
        callers = psutil.Process(first.pid).children(recursive=True)
        os.kill(first.pid, signal.SIGKILL)
        made = cloud.deployments["echo"]
    with served(cloud, echo_bentos, token, tmp_path) as second, second.client() as api:
        until(lambda: status(api)["status"] == "running")
        assert infer(api, {}).status_code == 200
        assert (cloud.made(), cloud.deployments["echo"]) == (1, made)
        assert callers
        until(lambda: not any(one.is_running() for one in callers))


def test_what_no_record_knows_is_removed_and_what_is_somebody_else_s_is_not(
    api: httpx.Client, cloud: LocalCloud
) -> None:
    changed(deploy(api))
    ours = cloud.deployments["echo"]
    orphan, stranger = ours.copy("orphan", "x" * 32), ours.copy("stranger", "y" * 32, instance="other")
    cloud.deployments |= {"orphan": orphan, "stranger": stranger}
    until(lambda: "orphan" not in cloud.deployments)
    assert cloud.deployments.keys() == {"echo", "stranger"}
    assert stranger.status == "running"
    taken = deploy(api, "stranger")
    assert (taken.status_code, "did not create" in taken.json()["error"]["details"]["reason"]) == (500, True)
    changed(api.delete("/models/stranger", params={"wait": 30}))
    assert stranger is cloud.deployments["stranger"]
