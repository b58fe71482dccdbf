"""Measures requests through the gateway to a CPU-bound model, by number of replicas."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.load.subprocess_load import Load, run_load
from tests.support.calls import hosts, until
from tests.support.management_servers import BUILD, KEY, Management, echo_config, managing
from tests.support.victims import ready

BENTO: Final = Path(__file__).parent / "computing_bento"
MODEL: Final = "computing"
COUNTS: Final = (1, 2, 4)
CLIENTS: Final = 32
SETTLE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class ReplicaSample:
    """A load on a number of replicas."""

    replicas: int
    per_second: float
    cpu_ms: float
    """CPU time of a request, of the server and all replicas."""
    errors: int


def measure(seconds: float, counts: Sequence[int] = COUNTS) -> list[ReplicaSample]:
    """Measure each number of replicas in turn."""
    with tempfile.TemporaryDirectory(prefix="at-bench-") as name:
        folder = Path(name)
        body = folder / "body.json"
        body.write_text(json.dumps({"input_data": {"text": "头痛"}}))
        with managing(_store(folder / "bentoml"), home=folder / "home") as server, server.client() as api:
            _deploy(api, max(counts))
            return [_measure_load(server, api, count, body, seconds) for count in counts]


def _store(folder: Path) -> Path:
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-c", BUILD, str(BENTO), "1.0.0"]
    subprocess.run(command, cwd=BENTO, env=environment, check=True, capture_output=True)
    return folder


def _deploy(api: httpx.Client, max_replicas: int) -> None:
    config = echo_config(
        MODEL,
        docker_image="benchmarks/computing:1.0.0",
        scaling_config={"min_replicas": 1, "max_replicas": max_replicas},
    )
    api.post("/models/deploy", params={"wait": 60}, json={"config": config}).raise_for_status()


def _measure_load(server: Management, api: httpx.Client, count: int, body: Path, seconds: float) -> ReplicaSample:
    api.post(f"/models/{MODEL}/scale", json={"replicas": count}).raise_for_status()
    until(lambda: len(ready(api, MODEL)) == count, 60)
    time.sleep(SETTLE_SECONDS)
    url = f"{server.url}/api/v1/models/{MODEL}/inference"
    before = _cpu_seconds(server)
    outcome = run_load(Load(url, [body], CLIENTS, seconds, "application/json", headers=(f"X-API-Key: {KEY}",)))
    used = _cpu_seconds(server) - before
    errors = sum(outcome.errors.values())
    return ReplicaSample(count, outcome.per_second, 1000 * used / max(1, outcome.answered + errors), errors)


def _cpu_seconds(server: Management) -> float:
    parent = psutil.Process(server.pid)
    total = 0.0
    for process in {parent, *parent.children(recursive=True), *hosts(server)}:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total
