"""What we start listens where it says and nowhere else: any other port would be open to every user of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from management.backends.launcher import Phase
from management.backends.process.launcher import ProcessLauncher
from management.gateway.replica_client import ReplicaClient
from tests.doubles.launchers import launch, process_launcher, until
from tests.support.calls import deploy
from tests.support.listening import Listening, is_private, listening, reached_by_nobody
from tests.support.management_servers import Management, built, managing
from tests.support.servers import ROOT, Server, free_port

DUO = ROOT / "tests" / "bentos" / "duo"
START_SECONDS = 60.0


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def only(found: Listening, *ports: int) -> None:
    """It listens on these ports, and otherwise where nobody else gets."""
    assert found.ports == set(ports)
    assert {path for path in found.paths if not is_private(path)} == set()
    if os.geteuid() == 0:
        assert reached_by_nobody(found.paths) == set()


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("duo"), DUO)


@pytest.fixture
async def launcher(duo: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProcessLauncher]:
    """Of replicas of two services; nothing of it runs afterwards."""
    monkeypatch.setenv("BENTOML_HOME", str(duo))
    home = Path(tempfile.mkdtemp(prefix="at-"))
    starts = process_launcher(home)
    yield starts
    for replica_id in await starts.list_running():
        await starts.stop(replica_id, 5.0)
    for replica_id in await starts.list_leftovers():
        await starts.remove_files(replica_id)
    shutil.rmtree(home)


@pytest.mark.server
async def test_a_replica_of_several_services_opens_no_port(launcher: ProcessLauncher) -> None:
    wanted = launch("tests/duo:1.0.0")
    await launcher.start(wanted)
    look = await until(launcher, wanted.replica_id, Phase.READY)
    client = ReplicaClient(look.address)
    (result,) = await client.infer([{"input_data": {"a": 1}, "parameters": {}}], "id")
    await client.close()
    assert result["output_data"]["echo"] == {"a": 1}
    keeper = launcher._children[wanted.replica_id].pid
    found = listening(keeper)
    only(found)
    assert len(found.paths) == 3, "of the replica, of its first service, and of the second one"


def test_the_management_alone_opens_its_own_port_and_its_replicas_none(
    management: Management, api: httpx.Client
) -> None:
    assert deploy(api).status_code == 200
    found = listening(management.pid)
    only(found, port_of(management.url))
    assert [path for path in found.paths if path.endswith("/http.sock")]


@pytest.mark.slow
def test_so_does_one_of_several_workers(echo_bentos: Path) -> None:
    with managing(echo_bentos, workers=2) as server:
        only(listening(server.pid), port_of(server.url))


@contextmanager
def contained(store: Path) -> Iterator[tuple[int, int]]:
    """The command of an image, here; its process and its port."""
    port = free_port()
    command = [sys.executable, "-m", "runners.launch", "runners.tcm.diagnosis:Diagnosis", "--contained"]
    environment = {**os.environ, "BENTOML_HOME": str(store), "BENTOML_NO_UDS": "1"}
    server = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _ready(port):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield server.pid, port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.server
@pytest.mark.slow
def test_the_command_of_an_image_opens_the_port_that_it_is_told(store: Path) -> None:
    with contained(store) as (pid, port):
        only(listening(pid), port)


@pytest.mark.slow
def test_the_front_door_opens_one_port_for_all_its_models(atelier: Server) -> None:
    found = listening(atelier.pid)
    only(found, port_of(atelier.url))
    assert len(found.paths) >= 5, "of each model"


@pytest.mark.slow
def test_a_model_alone_opens_one_port(satellite: Server) -> None:
    only(listening(satellite.pid), port_of(satellite.url))
