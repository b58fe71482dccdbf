"""Each backend with its engine, and a home whose replicas go with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.backends.engines import Docker, Engine, Kubernetes, NodesEngine, Processes, Swarm
from tests.support import kubernetes_cluster

ON_NODES: Final = (
    pytest.param("kubernetes", marks=pytest.mark.kubernetes),
    pytest.param("swarm", marks=pytest.mark.swarm),
)
EVERYWHERE: Final = (
    pytest.param("process", marks=pytest.mark.slow),
    pytest.param("docker", marks=pytest.mark.docker),
    *ON_NODES,
)


@pytest.fixture(params=EVERYWHERE)
def engine(request: pytest.FixtureRequest, home: Path) -> Iterator[Engine]:
    """Every engine, with the echo in two versions; nothing of the home stays in it."""
    found = Processes() if request.param == "process" else _with_images(request)
    yield found
    found.clear(home)


@pytest.fixture(params=ON_NODES)
def cluster(request: pytest.FixtureRequest, home: Path) -> Iterator[NodesEngine]:
    """Every engine of two nodes, with the echo in two versions; nothing of the home stays in it."""
    found = _with_images(request)
    assert not isinstance(found, Docker)
    yield found
    found.clear(home)


def _with_images(request: pytest.FixtureRequest) -> Docker | Kubernetes | Swarm:
    images = request.getfixturevalue("echo_images")
    if request.param == "docker":
        return Docker()
    if request.param == "kubernetes":
        kubernetes_cluster.give(*images)
        return Kubernetes()
    return Swarm(request.getfixturevalue("swarm"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder)
