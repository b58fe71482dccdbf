"""deploy/backup and deploy/restore: what the service atelier keeps outlives its volume."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from management.packaging.build import (
    BentoHome,
    build,
    recipes,
)
from tests.deploy.deployment import Deployment, deployment
from tests.support.docker_engine import docker
from tests.support.servers import ROOT

pytestmark = pytest.mark.docker

ATELIER = "atelier/atelier:0.1.0"
HOME = "/home/bentoml/atelier"
PUT_BENTOS = re.compile(r"^tar -c -C \.atelier/bentoml (?:.*\\\n)*.*$", re.MULTILINE)
CONFIG = {
    "model_id": "diagnosis",
    "name": "Diagnosis",
    "version": "2.0.0",
    "model_type": "tcm_diagnosis",
    "framework": "onnx",
    "docker_image": "atelier/tcm-diagnosis:2.0.0",
    "resource_requirements": {"cpu": "100m", "memory": "256Mi"},
}


@pytest.fixture
def deployed(atelier_image: str) -> Iterator[Deployment]:
    assert atelier_image == ATELIER
    with deployment() as running:
        running.up("nginx", "atelier")
        yield running


@pytest.fixture
def bentos(store: Path) -> Path:
    """A BentoML home with the Bento that is deployed."""
    recipe = next(recipe for recipe in recipes() if recipe.name == "tcm-diagnosis")
    build(recipe, recipe.tags("2.0.0")[0], BentoHome(store))
    return store


def put(deployed: Deployment, home: Path) -> None:
    """The documented line, from another store."""
    (line,) = PUT_BENTOS.findall((ROOT / "docs" / "deployment.md").read_text())
    here = line.replace(".atelier/bentoml", shlex.quote(str(home)))
    subprocess.run(["bash", "-c", here], cwd=ROOT, env=deployed.variables, check=True, capture_output=True, timeout=120)


def infer(client: httpx.Client, key: str) -> httpx.Response:
    asked = {"input_data": {"symptoms": ["头痛", "乏力"]}, "timeout": 90}
    return client.post("/api/v1/models/diagnosis/inference", json=asked, headers={"X-API-Key": key})


def test_a_restore_in_a_new_volume_gives_the_same_deployments_and_keys(
    deployed: Deployment, bentos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "atelier.tar.gz"
    key = deployed.compose("exec", "-T", "atelier", "cat", f"{HOME}/admin.key").strip()
    put(deployed, bentos)
    with deployed.client() as client:
        headers, body = {"X-API-Key": key}, {"config": CONFIG}
        made = client.post("/api/v1/models/deploy", params={"wait": 60}, json=body, headers=headers)
        assert made.status_code == 200, made.text
        assert infer(client, key).status_code == 200
    done = deployed.run("backup", str(file))
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    refused = deployed.run("restore", str(file), "--force")
    assert refused.returncode != 0
    assert "stop it first" in refused.stderr

    deployed.compose("down", "--volumes")
    assert deployed.left() == []
    done = deployed.run("restore", str(file))
    assert done.returncode == 0, done.stderr
    deployed.up("nginx", "atelier")
    with deployed.client() as client:
        answer = infer(client, key)
        assert answer.status_code == 200, answer.text
        assert client.get("/health/atelier").json()["status"] == "healthy"
    (atelier,) = deployed.containers("atelier")
    assert docker("exec", atelier, "stat", "-c", "%a %u", f"{HOME}/admin.key", f"{HOME}/atelier.db") == (
        "600 1034\n600 1034"
    )
