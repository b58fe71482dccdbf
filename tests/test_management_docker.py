"""Replicas as containers: the contract of all launchers on a real Docker Engine, and what only containers can do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from management.backends.base import ImageRefusedError, LaunchRefusedError, Phase
from management.backends.docker import DockerLauncher
from management.backends.docker_engine import DockerEngine
from management.backends.docker_images import DockerImages
from management.errors import BackendUnavailable
from management.records import Resources
from tests.management_doubles import settings
from tests.management_launchers import CONTRACT, Bench, begun, launch, until

pytestmark = pytest.mark.docker

Clause = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def engine(home: Path) -> AsyncIterator[DockerEngine]:
    yield DockerEngine(settings(home).docker_socket)


@pytest.fixture
async def bench(home: Path, engine: DockerEngine) -> AsyncIterator[Bench]:
    """A launcher of containers; nothing that it started is left afterwards."""
    told = settings(home)
    launcher = DockerLauncher(engine, told)

    def kill(replica_id: str) -> None:
        engine._call(lambda client: client.kill(f"atelier-{replica_id}"))

    wanted = launch()
    loud = replace(launch(), environment={"ECHO_FAIL": "1"})
    yield Bench(launcher, wanted, loud, lambda: DockerLauncher(engine, told), kill)
    for replica_id in await launcher.left():
        await launcher.clean(replica_id)


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_containers_keep_the_contract(clause: Clause, bench: Bench) -> None:
    await clause(bench)
