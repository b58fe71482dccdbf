"""The command ``monitor`` against real servers, and on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pynvml
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from management.cli.main import main
from management.cli.monitoring.machine import Machine, gpus
from management.cli.monitoring.monitor import Thresholds, alerts, exit_status
from management.cli.monitoring.view import view
from tests.support.calls import deploy, infer, until
from tests.support.management_servers import KEY, Management
from tests.support.servers import ROOT, Server, free_port

COMMAND = [sys.executable, "-m", "management", "monitor"]
SYSTEM = {
    *("timestamp", "cpu_percent", "memory_percent", "memory_used_gb", "memory_total_gb", "disk_percent"),
    *("disk_used_gb", "gpu_metrics"),
}
CALM = ("--warn-cpu", "100", "--warn-memory", "100", "--warn-gpu", "100")
WELL = {"status": "healthy", "response_time": 0.01, "status_code": 200}
GPU = {"id": 0, "name": "A GPU", "load": 90.0, "memory_used": 1.0, "memory_total": 2.0, "temperature": 40}
QUIET = {"cpu_percent": 80.0, "memory_percent": 90.0, "gpu_metrics": [GPU, {**GPU, "load": None}]}

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``monitor --once``."""
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    return lambda url, *arguments: CliRunner().invoke(main, ["monitor", "--once", "--api-url", url, *arguments])


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers everything so, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# What it sees


def test_the_documents_fields_and_every_model_are_told(run: Run, api: httpx.Client, management: Management) -> None:
    deploy(api)
    for _ in range(3):
        infer(api, {"n": 1})
    done = run(management.url, "--json", *CALM)
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    seen = json.loads(line)
    assert seen["system"].keys() == SYSTEM
    assert seen["api"].keys() == WELL.keys()
    assert (seen["api"]["status"], seen["api"]["status_code"], seen["alerts"]) == ("healthy", 200, [])
    (model,) = seen["models"]
    assert (model["model_id"], model["status"], model["answered"]) == ("echo", "running", 3)
    assert (model["replicas"]["desired"], model["replicas"]["ready"]) == (1, 1)
    assert (model["waiting"], model["in_flight"], model["places"]) == (0, 0, 2)
    assert 0 < model["latency"]["mean"] < 60
    assert model["latency"]["p50"] <= model["latency"]["p99"]


def test_people_get_a_table(run: Run, api: httpx.Client, management: Management) -> None:
    deploy(api)
    told = run(management.url).stdout
    assert "healthy in" in told
    assert re.search(r"CPU .*% *\nmemory .* of .* GiB *\ndisk .* GiB used", told)
    assert re.search(r"MODEL +STATUS +READY +QUEUE.*\necho +running +1/1 +0 +0/2 ", told)


def test_without_a_key_models_are_not_shown_and_nothing_is_wrong(
    run: Run, api: httpx.Client, management: Management, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deploy(api)
    monkeypatch.setenv("ATELIER_API_KEY", "a-wrong-key")
    done = run(management.url, "--json", *CALM)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["models"] is None


def test_a_model_alone_and_the_front_door_are_watched_alike(run: Run, satellite: Server, atelier: Server) -> None:
    alone, front = (json.loads(run(server.url, "--json", *CALM).stdout) for server in (satellite, atelier))
    assert (alone["api"]["status"], front["api"]["status"]) == ("healthy", "healthy")
    assert alone["models"] is None, "it manages none"


# What it ends with


def test_its_exit_status_says_how_it_is(run: Run, management: Management) -> None:
    assert run(management.url, *CALM).exit_code == 0
    warned = run(management.url, "--warn-memory", "0")
    assert warned.exit_code == 1
    assert "warning: High memory usage:" in warned.stdout
    assert run(management.url, "--warn-memory", "101").exit_code == 2
    assert run("ftp://127.0.0.1").exit_code == 3


def test_an_api_that_is_ill_or_away_is_an_error_whatever_else_is_warned_of(run: Run) -> None:
    with answering(503) as url:
        ill = run(url, "--json", "--warn-memory", "0")
    assert ill.exit_code == 3
    seen = json.loads(ill.stdout)
    assert (seen["api"]["status"], seen["api"]["status_code"]) == ("unhealthy", 503)
    assert [alert["level"] for alert in seen["alerts"] if "API" in alert["message"]] == ["error"]
    away = run(f"http://127.0.0.1:{free_port()}", "--json")
    assert away.exit_code == 3
    told = json.loads(away.stdout)["api"]
    assert (told["status"], told["response_time"], told["status_code"]) == ("error", None, None)
    assert "cannot be reached" in told["error"]


def test_more_than_a_threshold_is_warned_of_and_no_less() -> None:
    usual = Thresholds(80, 90, 90)
    seen: dict[str, Any] = {"system": QUIET, "api": WELL, "models": None}
    assert alerts(seen, usual) == []
    seen["system"] = {"cpu_percent": 80.1, "memory_percent": 90.1, "gpu_metrics": [{**GPU, "load": 90.1}]}
    told = alerts(seen, usual)
    assert [alert["message"] for alert in told] == [
        "High CPU usage: 80.1%",
        "High memory usage: 90.1%",
        "High GPU load: 90.1% on A GPU",
    ]
    assert exit_status({"alerts": told}) == 1
    failed = {"system": QUIET, "api": WELL, "models": [{"model_id": "a", "status": "failed"}]}
    assert alerts(failed, usual) == [{"level": "warning", "message": "Model failed: a"}]


def test_gpus_are_those_of_the_driver_or_none() -> None:
    found = gpus()
    there = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) if Path("/proc/driver/nvidia/gpus").exists() else 0
    assert len(found) == there
    assert all(gpu.keys() == GPU.keys() for gpu in found)
    assert Machine().look().keys() == SYSTEM


class Driver:
    """Answers for two GPUs as NVIDIA's does, in its own structures: one is whole, one a part that tells little."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        for name in ("Init", "Shutdown", "DeviceGetCount", "DeviceGetHandleByIndex", "DeviceGetName"):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name))
        for name in ("DeviceGetUtilizationRates", "DeviceGetMemoryInfo", "DeviceGetTemperature"):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name))

    def Init(self) -> None:  # noqa: N802
        self.begun += 1

    def Shutdown(self) -> None:  # noqa: N802
        self.begun -= 1

    def DeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def DeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def DeviceGetName(self, gpu: int) -> str | bytes:  # noqa: N802
        return "NVIDIA H100" if gpu == 0 else b"NVIDIA H100 MIG 1g.10gb"

    def DeviceGetUtilizationRates(self, gpu: int) -> Any:  # noqa: N802
        if gpu == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return pynvml.c_nvmlUtilization_t(gpu=93, memory=40)

    def DeviceGetMemoryInfo(self, gpu: int) -> Any:  # noqa: N802
        if gpu == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return pynvml.c_nvmlMemory_t(total=80 * 2**30, free=60 * 2**30, used=20 * 2**30)

    def DeviceGetTemperature(self, gpu: int, sensor: int) -> int:  # noqa: N802
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 45 + gpu


def test_what_a_driver_does_not_tell_of_a_gpu_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    whole, part = gpus()
    assert whole == {
        "id": 0,
        "name": "NVIDIA H100",
        "load": 93.0,
        "memory_used": 20480.0,
        "memory_total": 81920.0,
        "temperature": 45,
    }
    assert (part["name"], part["load"], part["memory_total"], part["temperature"]) == (
        "NVIDIA H100 MIG 1g.10gb",
        None,
        None,
        46,
    )
    assert driver.begun == 0, "the library is let go of"
    shown = Console(width=100, color_system=None)
    with shown.capture() as captured:
        seen: dict[str, Any] = {"system": Machine().look(), "api": WELL, "models": None, "alerts": []}
        shown.print(view(seen, "http://localhost:8080"))
    assert re.search(r"GPU 0 .* 93 % +NVIDIA H100, 20.0 of 80.0 GiB, 45 °C", captured.get())
    assert re.search(r"GPU 1 .* - +NVIDIA H100 MIG 1g.10gb, 46 °C", captured.get())


# On and on


def test_json_is_a_line_for_each_look_until_ctrl_c(management: Management) -> None:
    command = [*COMMAND, "--url", management.url, "--json", "--interval", "0.1"]
    environment = {**os.environ, "ATELIER_API_KEY": KEY}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert {look["api"]["status"] for look in looks} == {"healthy"}


def test_on_a_terminal_it_is_one_table_that_is_drawn_anew_until_ctrl_c(management: Management) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--url", management.url, "--interval", "0.1"]
    environment = {**os.environ, "ATELIER_API_KEY": KEY, "TERM": "xterm"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""

        def drawn() -> int:
            nonlocal shown
            shown += os.read(ours, 65536)
            return shown.count(b"healthy in") >= 3

        until(drawn)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # its end is closed
                break
        assert process.wait(timeout=30) == 0
    os.close(ours)
    assert b"\x1b[2K" in shown, "the old table is taken away"
    assert shown.rstrip().endswith(b"\x1b[?25h"), "the cursor is there again"
    assert b"Traceback" not in shown
