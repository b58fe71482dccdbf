"""Measures the overhead of the management against direct calls to the same replica: python -m benchmarks.management.

With an echo Bento (``tests/bentos/echo``), on this machine, in one run:

    overhead        median of a call through the gateway less the median of a direct call, made alternately
    throughput      inferences a second through the gateway with concurrent callers, and the number of failures
    deploy          time from the request to ready, less the start time of the replica alone
    memory          resident bytes of the control plane's process
    list            median of a list of 1,000 deployments, in two pages of 500

Medians of several rounds; the numbers go to standard output as JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import httpx
import psutil

from management.domain.records import Deployment, ModelConfig, Resources, Revision, Scaling
from management.store import Store
from tests.support.management_servers import Management, echo_config, echo_store, managing

CALLS: Final = 400
CALLERS: Final = 16
LOAD_SECONDS: Final = 10.0
ROUNDS: Final = 5
STORED: Final = 1000
BODY: Final = {"input_data": {"text": "头痛"}}


@dataclass(frozen=True)
class Figures:
    """The measured figures, with their goals."""

    direct_ms: float
    gateway_ms: float
    overhead_ms: float  # at most 3
    inferences_per_second: float  # at least 300
    failed: int  # none
    start_seconds: float
    deploy_seconds: float
    deploy_over_start_seconds: float  # at most 1
    memory_mb: float  # at most 250
    list_ms: float  # at most 100


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.management", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="at-bench-") as folder:
        store = echo_store(Path(folder) / "bentoml")
        with managing(store, home=Path(folder) / "home") as server:
            figures = asyncio.run(_measure(server))
    if arguments.json:
        print(json.dumps(asdict(figures), indent=2))
        return
    for name, value in asdict(figures).items():
        print(f"{name:28} {value:10.2f}")


async def _measure(server: Management) -> Figures:
    deploys, starts = [], []
    for number in range(ROUNDS):
        deploy, start = _deploy(server, f"echo{number}")
        deploys.append(deploy)
        starts.append(start)
    for number in range(1, ROUNDS):
        _delete(server, f"echo{number}")
    socket = next((server.home / "replicas").glob("*/http.sock"))
    direct, through = await alternating(server, socket)
    rate, failed = await _load(server)
    memory = psutil.Process(server.pid).memory_info().rss
    list_ms = statistics.median(list_times(server, f"sqlite:///{server.home / 'atelier.db'}"))
    return Figures(
        direct_ms=direct,
        gateway_ms=through,
        overhead_ms=through - direct,
        inferences_per_second=rate,
        failed=failed,
        start_seconds=statistics.median(starts),
        deploy_seconds=statistics.median(deploys),
        deploy_over_start_seconds=statistics.median(a - b for a, b in zip(deploys, starts, strict=True)),
        memory_mb=memory / 1e6,
        list_ms=list_ms,
    )


def _deploy(server: Management, model_id: str) -> tuple[float, float]:
    """Return the seconds until a deployment is ready, and those of the same process started directly."""
    with server.client() as client:
        started = time.perf_counter()
        answer = client.post("/models/deploy", params={"wait": 60}, json={"config": echo_config(model_id)})
        seconds = time.perf_counter() - started
    answer.raise_for_status()
    folder = next(candidate for candidate in (server.home / "replicas").iterdir() if (candidate / "http.sock").exists())
    return seconds, _start_directly(folder)


def _start_directly(folder: Path) -> float:
    """Return the seconds until a second process of the replica answers, with the same code and no other load."""
    replica = psutil.Process(int((folder / "pid").read_text().split()[0]))
    with tempfile.TemporaryDirectory(prefix="at-") as name:
        copy = Path(name)
        launch = json.loads((folder / "launch.json").read_text())
        with (copy / "lock").open("wb") as lock:
            (copy / "launch.json").write_text(json.dumps({**launch, "lock_fd": lock.fileno()}))
            (copy / "token").write_bytes(b"0" * 32)
            command = [sys.executable, "-P", replica.cmdline()[2], name]
            started = time.perf_counter()
            process = subprocess.Popen(
                command, env=replica.environ(), cwd=copy, pass_fds=(lock.fileno(),), stdout=subprocess.DEVNULL
            )
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(copy / "http.sock")), trust_env=False) as client:
                while not _ready(client):
                    time.sleep(0.01)
            seconds = time.perf_counter() - started
            process.terminate()
            process.wait()
    return seconds


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("http://replica/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _delete(server: Management, model_id: str) -> None:
    with server.client() as client:
        client.delete(f"/models/{model_id}", params={"force": True, "wait": 30}).raise_for_status()


def overhead(calls: int = CALLS) -> tuple[float, float]:
    """Return the median milliseconds of direct calls and of calls through the gateway, on a new server."""
    with tempfile.TemporaryDirectory(prefix="at-bench-") as folder:
        store = echo_store(Path(folder) / "bentoml")
        with managing(store, home=Path(folder) / "home") as server:
            with server.client() as client:
                body = {"config": echo_config("echo0")}
                client.post("/models/deploy", params={"wait": 60}, json=body).raise_for_status()
            socket = next((server.home / "replicas").glob("*/http.sock"))
            return asyncio.run(alternating(server, socket, calls))


async def alternating(server: Management, socket: Path, calls: int = CALLS) -> tuple[float, float]:
    """Return the median milliseconds of alternating direct calls and calls through the gateway to ``echo0``."""
    direct: list[float] = []
    through: list[float] = []
    items = {"requests": [BODY]}
    headers = {"X-API-Key": "your-api-key"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as replica,
        aiohttp.ClientSession(headers=headers) as gateway,
    ):
        for _ in range(calls):
            direct.append(await _timed(lambda: _post(replica, "http://replica/infer", items)))
            through.append(await _timed(lambda: _post(gateway, f"{server.url}/api/v1/models/echo0/inference", BODY)))
    return statistics.median(direct), statistics.median(through)


async def _timed(call: Callable[[], Awaitable[int]]) -> float:
    started = time.perf_counter()
    status = await call()
    if status != 200:
        raise RuntimeError(f"status {status}")
    return (time.perf_counter() - started) * 1000


async def _post(session: aiohttp.ClientSession, url: str, body: object) -> int:
    async with session.post(url, json=body) as answer:
        await answer.read()
        return answer.status


async def _load(server: Management) -> tuple[float, int]:
    """Return results a second with ``CALLERS`` concurrent callers, and the number of failures."""
    url = f"{server.url}/api/v1/models/echo0/inference"
    good = bad = 0
    end = time.perf_counter() + LOAD_SECONDS

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal good, bad
        while time.perf_counter() < end:
            if await _post(session, url, BODY) == 200:
                good += 1
            else:
                bad += 1

    async with aiohttp.ClientSession(headers={"X-API-Key": "your-api-key"}) as session:
        started = time.perf_counter()
        await asyncio.gather(*(caller(session) for _ in range(CALLERS)))
        return good / (time.perf_counter() - started), bad


def list_times(server: Management, database: str) -> list[float]:
    """Return the milliseconds of 20 lists: both pages of 500 of 1,000 stored deployments, which are stopped."""
    at = datetime.now(UTC)
    config = ModelConfig(
        "Echo", "1.0.0", "multimodal", "onnx", "a/echo:1.0.0", {}, Scaling(0, 0), {}, Resources(1, 1, 0)
    )
    with closing(Store(database)) as store, store.writing() as session:
        for number in range(STORED):
            revision = Revision(1, replace(config, name=f"Echo {number}"))  # equal revisions would be decoded once
            session.deployments.add(Deployment(f"{number:032}", f"stored{number}", revision, 0, at, at))
    with server.client() as client:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            pages = [client.get("/models", params={"limit": 500, "offset": offset}) for offset in (0, 500)]
            times.append((time.perf_counter() - started) * 1000)
            if any(len(page.json()) != 500 for page in pages):
                raise RuntimeError(pages[0].text[:200])
    return times


if __name__ == "__main__":
    main()
