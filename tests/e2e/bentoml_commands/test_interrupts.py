"""Ctrl-C while ``bentoml deploy`` waits: the program ends, and the deployment goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.bentos.program import logged_in
from tests.support.calls import quick, status, until
from tests.support.management_servers import Management

pytestmark = [pytest.mark.server, pytest.mark.slow]

TAIL = "/ws/v1/clusters/default/tail"
"""Path of the websocket that shows the log of a start."""
ENDS = 15.0
"""Seconds in which the server has let go of a program that has ended."""
STARTING = "the weights are being read"
SERVICE = f"""
import pathlib, time
import bentoml

@bentoml.service
class Patient:
    def __init__(self) -> None:
        print("{STARTING}", flush=True)
        while not pathlib.Path("GATE").exists():
            time.sleep(0.05)

    @bentoml.api
    def greet(self, name: str) -> str:
        return name
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Management]:
    """A server without any Bento."""
    (tmp_path / "store").mkdir()
    with quick(tmp_path / "store") as running:
        yield running


def others(server: Management, api: httpx.Client) -> int:
    """How many connections the server has beside that of the test, those that wait to be closed included."""
    api.get("/models").raise_for_status()
    port = int(server.url.rpartition(":")[2])
    found = psutil.Process(server.pid).net_connections("tcp")
    return sum(each.laddr.port == port and bool(each.raddr) for each in found) - 1


def test_an_interrupted_deploy_ends_and_the_deployment_goes_on(server: Management, tmp_path: Path) -> None:
    gate, source = tmp_path / "gate", tmp_path / "source"
    source.mkdir()
    (source / "service.py").write_text(SERVICE.replace("GATE", str(gate)))
    program = logged_in(tmp_path / "user", server)
    with server.client() as api:
        with program.terminal("deploy", ".", "-n", "patient", cwd=source) as terminal:
            terminal.expect(STARTING)
            assert (terminal.interrupt(), "Traceback" in terminal.text) == (1, False), terminal.text
        until(lambda: TAIL in server.log.read_text(), ENDS)  # a websocket is logged when it has ended
        until(lambda: not others(server, api), ENDS)
        assert program.status("patient") == "image-building"
        before = status(api, "patient")
        gate.touch()
        until(lambda: program.status("patient") == "running")
        assert status(api, "patient")["replica_details"][0]["replica_id"] == before["replica_details"][0]["replica_id"]
    assert "Traceback" not in server.log.read_text()
