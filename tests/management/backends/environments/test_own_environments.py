"""Models in environments of their own, on real servers: deployed, updated, refused, and alone with their packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.bentos.own_environments import require, tiny_bento
from tests.support.bentos.wheelhouse import tiny_wheel
from tests.support.calls import deploy, hosts, infer, status, until
from tests.support.management_servers import Management, echo_config, managing

pytestmark = pytest.mark.server
SOON = 120.0


@pytest.fixture
def server(own_echo_bentos: Path) -> Iterator[Management]:
    with managing(own_echo_bentos, ATELIER_RETRY_SECONDS="0.1") as running:
        yield running


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    with server.client(**{"Accept-Language": "en"}) as client:
        yield client


def actions(api: httpx.Client, model_id: str = "echo") -> list[str]:
    return [event["action"] for event in api.get(f"/models/{model_id}/events").json()][::-1]


def test_a_model_runs_in_its_own_environment_and_tells_how_it_was_made(
    server: Management, api: httpx.Client, own_echo_bentos: Path
) -> None:
    image = tiny_bento(own_echo_bentos, "first")
    begun = api.post("/models/deploy", json={"config": echo_config(docker_image=image)})
    assert begun.status_code == 202, begun.text
    until(lambda: status(api)["environment"]["state"] == "preparing", SOON)
    seen = status(api)
    assert (seen["status"], seen["replica_details"]) == ("pending", [])
    assert seen["message"] == "Preparing the environment of 1.0.0: 0 of 1 replicas ready"
    until(lambda: status(api)["status"] == "running", SOON)
    assert infer(api, {}).json()["output_data"]["version"] == "1.0"
    shown = api.get("/models/echo/environment", params={"tail": 5}).json()
    assert shown["environment"]["state"] == "ready"
    assert any(package.startswith("tiny") for package in shown["packages"])
    assert len(shown["log"]) == 5
    (host,) = [process for process in hosts(server) if "host.py" in " ".join(process.cmdline())]
    assert shown["environment"]["digest"] in host.cmdline()[0]
    assert actions(api) == ["deploy", "environment_preparing", "environment_ready", "replica_ready"]


def test_a_model_that_the_server_suits_is_as_before(api: httpx.Client) -> None:
    assert deploy(api).status_code == 200
    assert status(api)["environment"] == {
        "state": "server",
        "digest": None,
        "python": "3.11",
        "size": None,
        "reason": None,
    }
    assert actions(api) == ["deploy", "replica_ready"]
    assert api.get("/models/echo/environment").json()["log"] == []


def test_an_update_whose_environment_fails_leaves_what_serves(api: httpx.Client, own_echo_bentos: Path) -> None:
    image = tiny_bento(own_echo_bentos, "broken")
    service = own_echo_bentos / "bentos" / "broken" / "1.0.0"
    require(service, "tiny==1.0", "bentoml", "setuptools")
    (service / "env" / "python" / "wheels" / "tiny-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    assert deploy(api).status_code == 200
    (before,) = status(api)["replica_details"]
    refused = api.put("/models/echo", json={"config": {"docker_image": image, "version": "2.0.0"}}, params={"wait": 60})
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["details"]["log"]
    (after,) = status(api)["replica_details"]
    assert (after["replica_id"], after["state"]) == (before["replica_id"], "ready")


def test_an_update_that_cannot_import_bentoml_is_rolled_back(api: httpx.Client, own_echo_bentos: Path) -> None:
    image = tiny_bento(own_echo_bentos, "shadow")
    folder = own_echo_bentos / "bentos" / "shadow" / "1.0.0"
    tiny_wheel(folder / "env" / "python" / "wheels", "9.0", name="bentoml", content="raise ImportError('none here')")
    require(folder, "tiny==1.0", "bentoml==9.0")
    assert deploy(api).status_code == 200
    (before,) = status(api)["replica_details"]
    failed = api.put("/models/echo", json={"config": {"docker_image": image, "version": "2.0.0"}}, params={"wait": 120})
    details = failed.json()["error"]["details"]
    assert (failed.status_code, details["serving"]) == (500, "1.0.0")
    assert "importing bentoml failed" in details["reason"]
    assert any("none here" in line for line in details["log"])
    (after,) = [replica for replica in status(api)["replica_details"] if replica["state"] != "failed"]
    assert (after["replica_id"], after["state"]) == (before["replica_id"], "ready")
    assert actions(api)[-3:] == ["environment_preparing", "environment_failed", "rolled_back"]


def test_what_a_process_cannot_be_given_is_refused_with_the_backend_that_can(
    api: httpx.Client, own_echo_bentos: Path
) -> None:
    image = tiny_bento(own_echo_bentos, "native")
    description = own_echo_bentos / "bentos" / "native" / "1.0.0" / "bento.yaml"
    text = description.read_text()
    assert "  commands:\n" in text
    description.write_text(text.replace("  commands:\n", "  commands:\n  - apt-get install -q -y libgl1\n"))
    refused = api.post("/models/deploy", json={"config": echo_config("native", docker_image=image)})
    (problem,) = refused.json()["error"]["details"]["problems"]
    assert (refused.status_code, problem["problem"]) == (400, "environment_system")
    assert "libgl1" in problem["message"]
    assert "docker" in problem["message"]
