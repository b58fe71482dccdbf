"""On the docker backend, a Bento that is pushed becomes an image on its way; the program shows how it is made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from management.backends.docker.container import INSTANCE
from management.backends.replica import identity
from tests.support.bentos.program import Program, logged_in
from tests.support.calls import status, until
from tests.support.docker_engine import docker
from tests.support.management_servers import KEY, Management, managing
from tests.support.servers import ROOT

pytestmark = pytest.mark.docker

HELLO = ROOT / "examples" / "bentos" / "hello"
BROKEN = """
service: service:Hello
docker:
  setup_script: ./setup.sh
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Management]:
    """A server that runs containers, and has no Bento."""
    home = Path(tempfile.mkdtemp(prefix="at-"))
    with managing(tmp_path, home=home, ATELIER_BACKEND="docker") as running:
        yield running
    left = f"label={INSTANCE}={identity.of_home(home).id}"
    for container in docker("ps", "--all", "--filter", left, "--format", "{{.Names}}").splitlines():
        docker("rm", "--force", container)
    shutil.rmtree(home)


@pytest.fixture
def program(server: Management, tmp_path: Path) -> Iterator[Program]:
    """A user who is logged in; the images of the user's Bentos go at the end."""
    yield logged_in(tmp_path / "user", server)
    for name in ("hello", "broken"):
        for image in docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"bentos/{name}").splitlines():
            docker("rmi", "--force", image)


def test_a_bento_is_deployed_updated_and_deleted_by_the_program_alone(program: Program, server: Management) -> None:
    deployed = program.run("deploy", ".", "-n", "hello", "--access-authorization", "true", cwd=HELLO)
    assert "is ready" in deployed.text
    assert "Step" in deployed.text or "#" in deployed.text, "the log of the image's making"
    told = program.deployment("hello")
    answer = httpx.post(f"{told['endpoint_urls'][0]}/greet", json={"name": "Ann"}, headers={"X-API-Key": KEY})
    assert answer.text == "Hello, Ann!"
    with server.client() as api:
        assert status(api, "hello")["config"]["docker_image"] == f"bentos/{told['bento']}"
        program.run("deployment", "update", "hello", "--env", "GREETING=hi")
        until(lambda: program.status("hello") == "running")
        program.run("deployment", "terminate", "hello", "--wait")
        program.run("deployment", "delete", "hello")
        until(lambda: api.get("/models/hello/status").status_code == 404)


def test_an_image_that_cannot_be_made_fails_the_command_and_shows_why(program: Program, tmp_path: Path) -> None:
    source = tmp_path / "broken"
    shutil.copytree(HELLO, source)
    (source / "bentofile.yaml").write_text(f"name: broken\n{BROKEN.lstrip()}")
    (source / "setup.sh").write_text("#!/bin/sh\necho this cannot be\nexit 7\n")
    (source / "setup.sh").chmod(0o755)
    failed = program.run("deploy", ".", "-n", "broken", cwd=source, check=False)
    assert failed.status == 1
    assert 'Current status: "image-build-failed"' in failed.text
    assert "this cannot be" in failed.text
