"""Models that misbehave, each beside one that behaves: the rogue is named, and its neighbour does not notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.calls import Load, deploy, infer, status, until
from tests.support.management_servers import Management, echo_config, managing
from tests.support.running.figures import SLACK, Figure
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow

ROGUE = ROOT / "tests" / "bentos" / "rogue"
BUILD = "import bentoml; bentoml.bentos.build_bentofile('bentofile.yaml', version='1.0.0', build_ctx='.')"
GIVEN_UP_SECONDS = 30.0
MOST_STARTS = 5
CALLS = 10
TIMEOUT = 3
NOT_UP = {
    "crash": ("exit status", "ROGUE says that this start fails"),
    "dies": ("the process ended with exit status 7", "ROGUE says that it dies"),
    "never-ready": ("it was not ready within 6 s", ""),
}
"""What the reason says, and what one of the last lines of the log says."""
NO_ANSWER = {
    "garbage": {(502, "MODEL_FAILED")},
    "short": {(502, "MODEL_FAILED")},
    "nan": {(502, "MODEL_FAILED")},
    "500": {(502, "MODEL_FAILED")},
    "closes": {(503, "MODEL_NOT_READY"), (502, "MODEL_FAILED")},
}
"""The status and code of each call."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, echo_bentos: Path) -> Iterator[Management]:
    """One on which the echo runs already; a start has six seconds, and what is drained two."""
    bentos = tmp_path_factory.mktemp("rogue") / "store"
    shutil.copytree(echo_bentos, bentos, symlinks=True)
    environment = {**os.environ, "BENTOML_HOME": str(bentos)}
    subprocess.run([sys.executable, "-c", BUILD], cwd=ROGUE, env=environment, check=True, capture_output=True)
    with managing(bentos, ATELIER_START_SECONDS="6", ATELIER_DRAIN_SECONDS="2") as running:
        with running.client() as client:
            assert deploy(client).status_code == 200
        yield running


@contextmanager
def beside_the_echo(server: Management, kind: str) -> Iterator[tuple[httpx.Client, str, Load]]:
    """A client, the rogue's id, and the callers of its neighbour, none of whom may fail.

    In the end the rogue is made to behave, by an update alone, and answers.
    """
    model_id = f"rogue-{kind}"
    with server.client(**{"Accept-Language": "en"}) as api:
        try:
            with Load(server, callers=1) as load:
                yield api, model_id, load
                config = {"environment_variables": {"ROGUE": None}}
                healed = api.put(f"/models/{model_id}", params={"wait": 60}, json={"config": config})
                assert healed.status_code == 200, healed.text
                assert infer(api, {}, model_id).json()["output_data"] == {"well": True}
                assert status(api, model_id)["status"] == "running"
            assert set(load.statuses) == {200}, load.refusals
        finally:
            api.delete(f"/models/{model_id}", params={"force": True, "wait": 30})


def deploy_rogue(api: httpx.Client, model_id: str, kind: str, wait: int) -> httpx.Response:
    config = echo_config(model_id, docker_image="tests/rogue:1.0.0", environment_variables={"ROGUE": kind})
    return api.post("/models/deploy", params={"wait": wait}, json={"config": config})


def failures(api: httpx.Client, model_id: str) -> list[dict[str, Any]]:
    events = api.get(f"/models/{model_id}/events", params={"limit": 1000}).json()
    return [event["details"] for event in events if event["action"] == "replica_failed"]


@pytest.mark.parametrize("kind", NOT_UP)
def test_a_model_that_does_not_stay_up_is_given_up_with_its_reason(
    server: Management, figure: Figure, kind: str
) -> None:
    reason, line = NOT_UP[kind]
    with beside_the_echo(server, kind) as (api, model_id, load):
        began = time.monotonic()
        answer = deploy_rogue(api, model_id, kind, wait=60)
        until(lambda: status(api, model_id)["status"] == "failed", SLACK * GIVEN_UP_SECONDS + 10)
        seconds = time.monotonic() - began
        if kind != "dies":  # which was ready when it was asked for
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "DEPLOYMENT_FAILED")
            details = answer.json()["error"]["details"]
            assert reason in details["reason"]
            assert any(line in text for text in details["log"]) or not line
        found = failures(api, model_id)
        assert all(reason in replica["reason"] for replica in found), found
        assert reason in status(api, model_id)["message"]
        logs = api.get(f"/models/{model_id}/logs").json()["replicas"]
        assert any(line in logged for replica in logs for logged in replica["lines"]) or not line
        assert seconds < SLACK * GIVEN_UP_SECONDS
        assert len(found) <= MOST_STARTS
    figure(
        f"failed after {len(found)} starts in {seconds:.1f} s; neighbour: {told(load)}",
        goal=f"failed with its reason after at most {MOST_STARTS} starts in {GIVEN_UP_SECONDS:g} s; 0 failed",
    )


@pytest.mark.parametrize("kind", NO_ANSWER)
def test_an_answer_that_is_none_is_told_as_the_models_fault(server: Management, figure: Figure, kind: str) -> None:
    with beside_the_echo(server, kind) as (api, model_id, load):
        assert deploy_rogue(api, model_id, kind, wait=60).status_code == 200
        answers = [infer(api, {"n": number}, model_id) for number in range(CALLS)]
        said = {(answer.status_code, answer.json()["error"]["code"]) for answer in answers}
        assert said <= NO_ANSWER[kind]
        assert all(answer.json()["error"]["details"]["model_id"] == model_id for answer in answers)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)
        assert not any("Traceback" in answer.text or "html" in answer.text for answer in answers)
        assert status(api, model_id)["status"] == "running"
        assert not failures(api, model_id)
    shown = ", ".join(f"{code} {name}" for code, name in sorted(said))
    figure(f"{CALLS} of {CALLS}: {shown}; neighbour: {told(load)}", goal="502 MODEL_FAILED or 503; 0 failed")


def test_a_model_that_never_answers_costs_its_callers_their_own_timeout_and_nobody_else_anything(
    server: Management, figure: Figure
) -> None:
    with beside_the_echo(server, "hang") as (api, model_id, load):
        assert deploy_rogue(api, model_id, "hang", wait=60).status_code == 200
        began = time.monotonic()
        answer = infer(api, {}, model_id, timeout=TIMEOUT)
        seconds = time.monotonic() - began
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "INFERENCE_TIMEOUT")
        assert answer.json()["error"]["details"]["model_id"] == model_id
        assert TIMEOUT - 0.1 < seconds < TIMEOUT + SLACK
    figure(
        f"408 after {seconds:.2f} s; neighbour: {told(load)}", goal=f"408 after {TIMEOUT} s, its own timeout; 0 failed"
    )


def told(load: Load) -> str:
    return f"0 failed of {load.statuses.total():,}"
