"""Models in containers, through the API of a real server: a whole life, an engine that is away, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from management.backends.docker.container import INSTANCE
from management.backends.replica import identity
from tests.doubles.engine_switch import EngineSwitch
from tests.support.calls import deploy, infer, status, until
from tests.support.chains.chain import chain
from tests.support.docker_engine import docker
from tests.support.load import Ask, callers
from tests.support.management_servers import echo_config, managing
from tests.support.running.figures import Figure
from tests.support.victims import details, ready

pytestmark = pytest.mark.docker

SOCKET: Final = Path("/var/run/docker.sock")
START_SECONDS: Final = 120.0
MODEL: Final = "diagnosis"
SYMPTOMS: Final = {"symptoms": ["头痛", "乏力", "食欲不振"]}
CONFIG: Final[dict[str, Any]] = {
    "model_id": MODEL,
    "name": "Diagnosis",
    "version": "2.0.0",
    "model_type": "tcm_diagnosis",
    "framework": "onnx",
    "docker_image": "atelier/tcm-diagnosis:2.0.0",
    "resource_requirements": {"cpu": "1", "memory": "512Mi"},
    "scaling_config": {"min_replicas": 1, "max_replicas": 3},
}
ROOM: Final = {"cpu": "2", "memory": "256Mi"}


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder; what its server left in the engine, because a test failed, goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    for container in containers(folder):
        docker("rm", "--force", container)
    shutil.rmtree(folder)


def containers(home: Path) -> list[str]:
    """The names of all that the server of this home has in the engine, in whatever state."""
    label = f"label={INSTANCE}={identity.of_home(home).id}"
    return docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").splitlines()


def test_a_model_lives_its_whole_life_in_containers(
    tcm_image: str, tcm_image_again: str, home: Path, tmp_path: Path, figure: Figure
) -> None:
    with chain(tmp_path, home, ATELIER_BACKEND="docker") as servers:
        first = servers.start()
        with first.server.client() as api:
            assert api.post("/models/deploy", params={"wait": 180}, json={"config": CONFIG}).status_code == 200
            assert infer(api, SYMPTOMS, MODEL).json()["output_data"]["syndromes"]
            scaled = api.post(f"/models/{MODEL}/scale", params={"wait": 180}, json={"replicas": 3})
            assert scaled.json()["current_replicas"] == 3
            assert len(containers(home)) == 3
            update = {"config": {"version": "2.1.0", "docker_image": tcm_image_again}}
            with callers(first.server, 2, Ask(MODEL, SYMPTOMS)) as traffic:
                updated = api.put(f"/models/{MODEL}", params={"wait": 300}, json=update)
                assert updated.status_code == 200, updated.text
                victim = min(ready(api, MODEL))
                docker("kill", "--signal", "KILL", f"atelier-{victim}")
                until(lambda: len(ready(api, MODEL) - {victim}) == 3, START_SECONDS)
            assert not traffic.failed, traffic.told
            serving = [replica for replica in details(api, MODEL) if replica["state"] == "ready"]
            assert {replica["version"] for replica in serving} == {"2.1.0"}
            before = {replica["replica_id"] for replica in serving}
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        second = servers.start()
        with second.server.client() as api:
            until(lambda: infer(api, SYMPTOMS, MODEL).status_code == 200)
            assert ready(api, MODEL) == before
            assert api.delete(f"/models/{MODEL}", params={"wait": 60}).status_code == 200
            until(lambda: not containers(home))
    figure(
        f"{len(traffic.failed)} failed of {len(traffic.answers):,} during an update of 3 containers and a kill; "
        "adopted after kill -9, nothing left after the deletion",
        goal="0 failed, nothing left",
    )


def test_an_engine_that_is_away_is_told_and_models_recover_when_it_is_back(
    echo_images: list[str], home: Path, tmp_path: Path
) -> None:
    way = str(home / "engine.sock")
    with ExitStack() as stack:
        switch = stack.enter_context(EngineSwitch(Path(way), SOCKET))
        told = managing(tmp_path, home=home, ATELIER_BACKEND="docker", ATELIER_DOCKER_SOCKET=way)
        with told as server, server.client(**{"Accept-Language": "en"}) as api:
            assert deploy(api, resource_requirements=ROOM).status_code == 200
            assert health(api) == ("healthy", "ok")
            switch.off()
            until(lambda: health(api) == ("degraded", "unavailable"))
            assert infer(api, {"n": 1}).status_code == 200, "the container runs on"
            assert_away(api.post("/models/deploy", json={"config": echo_config("other")}))
            (victim,) = ready(api)
            docker("kill", f"atelier-{victim}")
            assert_away(infer(api, {"n": 1}, timeout=10))
            switch.on()
            until(lambda: infer(api, {"n": 1}).status_code == 200, START_SECONDS)
            assert health(api) == ("healthy", "ok")
            assert api.delete("/models/echo", params={"wait": 60}).status_code == 200
    assert containers(home) == []


def test_a_server_that_ends_takes_its_containers_along_and_refuses_images_that_are_none(
    echo_images: list[str], home: Path, tmp_path: Path
) -> None:
    told = managing(tmp_path, home=home, ATELIER_BACKEND="docker", ATELIER_DOCKER_IMAGES="tests/*,python:*")
    with told as server, server.client(**{"Accept-Language": "en"}) as api:
        for image, why in (
            ("tests/none:1.0.0", "is not in the container engine"),
            ("python:3.11-slim", "was not built by BentoML"),
            ("atelier/echo:1.0.0", "is not an allowed image"),
        ):
            refused = api.post("/models/deploy", json={"config": echo_config(docker_image=image)})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_MODEL_CONFIG")
            (problem,) = refused.json()["error"]["details"]["problems"]
            assert (problem["field"], why in problem["message"]) == ("config.docker_image", True)
        assert deploy(api, resource_requirements=ROOM).status_code == 200
        assert infer(api, {"print": "a word for the log"}).status_code == 200
        (log,) = api.get("/models/echo/logs").json()["replicas"]
        assert "a word for the log" in log["lines"]
        until(lambda: status(api)["resource_usage"]["memory"] != "0", 10)
    assert containers(home) == []


def health(api: httpx.Client) -> tuple[str, str]:
    said = api.get("/health").json()
    return said["status"], said["backend_state"]


def assert_away(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "BACKEND_UNAVAILABLE"), answer.text
    assert int(answer.headers["Retry-After"]) > 0
