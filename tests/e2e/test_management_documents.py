"""docs/management.md's calls, pasted in their order, against the front door with this project's own Bentos."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from management.packaging import build
from tests.support.management_servers import KEY
from tests.support.servers import ROOT, Server, serving

PAGE = (ROOT / "docs" / "management.md").read_text()
EXAMPLES = re.findall(r"```bash\n(curl .*?)\n```", PAGE, re.DOTALL)
KEYED = {"X-API-Key": KEY}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")]


@pytest.fixture(scope="module")
def front(store: Path) -> Iterator[Server]:
    """The front door, whose models want keys, with the Bentos of the examples in its store."""
    kept = build.BentoHome(store)
    (recipe,) = [recipe for recipe in build.recipes() if recipe.name == "tcm-diagnosis"]
    for tag in recipe.tags():
        build.build(recipe, tag, kept)
    with serving("service:Atelier", store, ATELIER_API_KEY=KEY, ATELIER_KEYS_FOR_MODELS="true") as server:
        yield server


def printed(front: Server, command: str) -> tuple[int, str]:
    """Status and body of an example, run by a shell as it is printed but for its address."""
    here = command.replace("http://localhost:8080", front.url).replace("curl ", "curl -s -w '\\n%{http_code}' ", 1)
    written = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True).stdout
    body, _, status = written.rpartition("\n")
    return int(status), body


def pasted(front: Server, command: str) -> tuple[int, Any]:
    """The same of an answer in JSON."""
    status, body = printed(front, command)
    return status, json.loads(body)


def settled(front: Server, versions: frozenset[str] | None = None, **wanted: object) -> dict[str, Any]:
    """The status, once it has these values, and replicas of these versions alone: what a person would wait for."""
    deadline = time.monotonic() + 120
    while True:
        with front.client() as client:
            told: dict[str, Any] = client.get("/api/v1/models/tcm_diagnosis_v2/status", headers=KEYED).json()
        found = {replica["version"] for replica in told["replica_details"]}
        if versions in (None, found) and all(told.get(name) == value for name, value in wanted.items()):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def test_every_example_runs_in_order(front: Server) -> None:
    deploy, status, listing, inference, batch, scale, update, delete, secret, own, metrics = EXAMPLES
    code, said = pasted(front, deploy)
    assert (code, sorted(said)) == (202, ["deployment_id", "message"])
    settled(front, status="running")
    code, said = pasted(front, status)
    assert (code, said["replicas"]) == (200, {"desired": 1, "current": 1, "ready": 1})
    assert said["endpoints"][0] == {
        "type": "inference",
        "url": f"{front.url}/api/v1/models/tcm_diagnosis_v2/inference",
    }
    code, said = pasted(front, listing)
    assert [model["model_id"] for model in said] == ["tcm_diagnosis_v2"]
    code, said = pasted(front, inference)
    assert code == 200
    assert said["output_data"]["syndromes"][0]["name"]
    assert 0 < said["confidence"] < 1
    code, said = pasted(front, batch)
    assert [model["model_id"] for model in said] == ["tcm_diagnosis_v2"] * 2
    assert all(result["output_data"]["syndromes"] for result in said)
    code, said = pasted(front, scale)
    assert (code, said["current_replicas"], said["target_replicas"]) == (202, 1, 3)
    settled(front, replicas={"desired": 3, "current": 3, "ready": 3})
    code, said = pasted(front, update)
    assert code == 202
    ready = {"desired": 3, "current": 3, "ready": 3}
    told = settled(front, frozenset({"2.1.0"}), replicas=ready, version="2.1.0", revision=2)
    assert told["config"]["resource_requirements"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "0"}
    code, said = pasted(front, own)
    assert (code, len(said)) == (200, 1)
    code, said = pasted(front, secret)
    assert (code, said["variables"]) == (201, ["HF_TOKEN"])
    code, text = printed(front, metrics)
    assert code == 200
    for name in re.findall(r"`(?:atelier)?(_[a-z_]+)`", PAGE.split("## Metrics")[1].split("## Keys")[0]):
        assert re.search(rf"^atelier\w*{name}", text, re.MULTILINE), name
    code, said = pasted(front, delete)
    assert (code, list(said)) == (202, ["message"])


def test_the_models_want_keys_where_they_are_told_to(front: Server) -> None:
    symptoms = {"symptoms": ["头痛", "乏力"]}
    with front.client() as client:
        refused = client.post("/diagnose", json=symptoms)
        assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"]
        assert client.post("/diagnose", json=symptoms, headers=KEYED).status_code == 200
        health = client.get("/health")
    assert health.status_code == 200
    assert health.json()["management"]["database"] == "ok"


def test_the_front_doors_other_paths_keep_their_own_error_shape(front: Server) -> None:
    with front.client() as client:
        assert client.get("/api/v2/models", headers=KEYED).json() == {
            "error": "Endpoint not found",
            "code": "NOT_FOUND",
        }
        told = client.get("/api/v1/nothing", headers={**KEYED, "Accept-Language": "fr"}).json()
    assert (told["status"], told["error"]["code"]) == ("error", "NOT_FOUND")
    assert told["error"]["message"] == "Aucune route de ce nom"


@pytest.mark.server
def test_a_stopped_front_door_leaves_no_replica(store: Path) -> None:
    with serving("service:Atelier", store, ATELIER_API_KEY=KEY) as server:
        with httpx.Client(base_url=server.url, headers=KEYED, timeout=90, trust_env=False) as client:
            body = json.loads(re.search(r"-d '(.*)'", EXAMPLES[0], re.DOTALL)[1])  # type: ignore[index]
            assert client.post("/api/v1/models/deploy", params={"wait": 60}, json=body).status_code == 200
        family = psutil.Process(server.pid).children(recursive=True)
        hosts = [process for process in family if "replica/host.py" in " ".join(process.cmdline())]
        assert len(hosts) == 1
    assert not hosts[0].is_running() or hosts[0].status() == psutil.STATUS_ZOMBIE
