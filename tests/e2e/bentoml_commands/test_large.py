"""A Bento that travels in parts: a push that is killed on the way leaves nothing, and the next one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bentos.program import Program, logged_in
from tests.support.calls import quick, until
from tests.support.management_servers import Management

pytestmark = [pytest.mark.server, pytest.mark.slow]

MEGABYTES = 210
"""Three parts of the program, which sends 100 MiB in each."""
BUILD = """
import bentoml
bentoml.bentos.build_bentofile("bentofile.yaml", version="1.0.0", build_ctx=".")
"""
SERVICE = "import bentoml\n\n@bentoml.service\nclass Large:\n    pass\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The server's BentoML home."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def server(store: Path) -> Iterator[Management]:
    """A server without any Bento."""
    with quick(store) as running:
        yield running


@pytest.fixture
def program(server: Management, tmp_path: Path) -> Program:
    """A user who has a large Bento."""
    source, home = tmp_path / "source", tmp_path / "user"
    source.mkdir()
    (source / "service.py").write_text(SERVICE)
    (source / "bentofile.yaml").write_text("service: service:Large\ninclude: ['*']\n")
    (source / "weights.bin").write_bytes(os.urandom(1_000_000) * MEGABYTES)
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, env=environment, check=True, capture_output=True)
    return logged_in(home, server)


def test_a_push_that_is_killed_leaves_nothing_and_the_next_one_goes_on(
    program: Program, server: Management, store: Path, tmp_path: Path
) -> None:
    command = [program.python, "-m", "bentoml", "push", "large:1.0.0"]
    pushing = subprocess.Popen(command, env=program.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: any(file.is_file() for file in store.glob(".pushes/uploads/*/*")))
    finally:
        pushing.send_signal(signal.SIGKILL)
        pushing.wait()
    with server.client() as api:
        assert api.get("/bentos").json() == []
        assert "Successfully pushed" in program.run("push", "large:1.0.0").text
        assert [bento["tag"] for bento in api.get("/bentos").json()] == ["large:1.0.0"]
    other = logged_in(tmp_path / "other", server)
    other.run("pull", "large:1.0.0")
    path = "bentos/large/1.0.0/src/weights.bin"
    assert (other.home / path).read_bytes() == (program.home / path).read_bytes()
