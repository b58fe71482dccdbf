"""deploy/backup and deploy/restore: what the service atelier keeps outlives its volume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, deployment, docker, require_images

pytestmark = pytest.mark.docker

ATELIER = "atelier/atelier:0.1.0"


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    require_images(ATELIER)
    with deployment() as one:
        one.up("nginx", "atelier")
        yield one


def test_a_restore_in_a_new_volume_gives_the_same_server(deployed: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "atelier.tar.gz"
    first = deployed.compose("exec", "-T", "atelier", "cat", "/home/bentoml/atelier/admin.key").strip()
    with deployed.client() as client:
        keys = client.get("/api/v1/models", headers={"X-API-Key": first})
        assert keys.status_code == 200, keys.text
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
        assert client.get("/api/v1/models", headers={"X-API-Key": first}).status_code == 200
        assert client.get("/health/atelier").json()["status"] == "healthy"
    (atelier,) = deployed.containers("atelier")
    assert docker("exec", atelier, "stat", "-c", "%a %u", "/home/bentoml/atelier/admin.key") == "600 1034"
