"""What the command line says while what runs the models does not answer."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from management.cli import progress
from management.cli.main import main
from management.configuration import settings
from management.faults.outage import Outage

AWAY = {"status": "degraded", "backend": "docker", "backend_state": "unavailable"}
WELL = {"status": "healthy", "backend": "docker", "backend_state": "ok"}
CALM = ("--warn-cpu", "100", "--warn-memory", "100", "--warn-gpu", "100")


class Slow(BaseHTTPRequestHandler):
    """A server whose changes take as long as the test, and whose backend is as the test says."""

    health: ClassVar[dict[str, Any]] = AWAY
    front: ClassVar[bool] = False
    ended: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        is_health = self.path.endswith("/health")
        told = (
            {"status": "healthy", "management": self.health} if self.front and self.path == "/health" else self.health
        )
        self._answer(200 if is_health else 404, told if is_health else {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.ended.wait(60)
        self._answer(200, {"deployment_id": "d", "message": "Model m is deployed"})

    def _answer(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path))
    settings.cache_clear()
    monkeypatch.setattr(progress, "POLL_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(Slow, "health", AWAY)
    monkeypatch.setattr(Slow, "front", False)
    Slow.ended.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Slow.ended.set()
        server.shutdown()
        thread.join()
    settings.cache_clear()


def deploy(url: str) -> Result:
    config = json.dumps({"model_id": "m"})
    return CliRunner().invoke(main, ["deploy", "-", "--url", url, "--wait-seconds", "300"], input=config)


def test_a_deployment_that_waits_names_the_backend_that_is_away_and_ends(url: str) -> None:
    done = deploy(url)
    assert done.exit_code == 1
    assert "m: waiting: the backend docker does not answer" in done.stderr
    assert "status m" in done.stderr.splitlines()[-1]


def test_a_backend_that_comes_back_lets_the_deployment_be_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def look(watch: Any) -> str | None:
        looks.append(1)
        if len(looks) == progress.MAX_FAULTS:
            Slow.ended.set()
        return "the backend docker does not answer" if len(looks) < progress.MAX_FAULTS else None

    monkeypatch.setattr(progress._BackendWatch, "_check_health", look)
    done = deploy(url)
    assert done.exit_code == 0, done.stderr
    assert "Model m is deployed" in done.stdout


@pytest.mark.parametrize("front", [False, True], ids=["the management alone", "the front door"])
def test_a_monitor_is_unhealthy_while_the_backend_is_away(
    url: str, monkeypatch: pytest.MonkeyPatch, front: bool
) -> None:
    monkeypatch.setattr(Slow, "front", front)
    done = CliRunner().invoke(main, ["monitor", "--once", "--json", "--url", url, *CALM])
    assert done.exit_code == 3
    seen = json.loads(done.stdout)
    assert (seen["api"]["status"], seen["api"]["status_code"]) == ("unhealthy", 200)
    assert [alert["message"] for alert in seen["alerts"]] == ["API unhealthy: the backend docker does not answer"]
    monkeypatch.setattr(Slow, "health", WELL)
    assert CliRunner().invoke(main, ["monitor", "--once", "--url", url, *CALM]).exit_code == 0


def test_an_outage_is_logged_when_it_begins_when_its_cause_changes_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(logging.getLogger("test"), "the backend")
    with caplog.at_level(logging.WARNING):
        for cause in ("a", "a", "a", "b", "b"):
            outage.report(cause)
        outage.end()
        outage.end()
        outage.report("b")
    said = [record.getMessage() for record in caplog.records]
    assert [("(a)" in line, "(b)" in line, "again" in line) for line in said] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (False, True, False),
    ]
