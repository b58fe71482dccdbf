"""Measures what a control plane costs that observes many replicas: python -m benchmarks.observing.

The replicas are simulated Pods in another process than the control plane, a real server of the management with one
worker. All are ready and nothing else happens, but for ``--changes``. Prints, by number of replicas, the seconds until
all were ready, then the CPU time of the server's processes in percent of one core, the probes and the calls to the
cluster's API server per second, and the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.observing.pods import Cluster
from tests.support.management_servers import Management, echo_config, managing
from tests.support.victims import ready

COUNTS: Final = (10, 50, 100, 500)
REPLICAS_OF_A_MODEL: Final = 50
START_SECONDS: Final = 300.0
POLL_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 15.0
"""Seconds that the ready replicas are left alone before the measurement."""


@dataclass(frozen=True)
class ObservingSample:
    """What a number of replicas cost."""

    replicas: int
    ready_seconds: float
    """From the first deployment until all were ready."""
    core_percent: float
    probes_per_second: float
    calls_per_second: float
    """Calls to the API server."""
    memory_megabytes: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each number of replicas and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=list(COUNTS), help="numbers of replicas")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of each measurement")
    parser.add_argument("--changes", type=float, default=0.0, help="Pods that change each second, for the watch")
    options = parser.parse_args(arguments)
    print(f"{'replicas':>8} {'ready, s':>8} {'% of a core':>12} {'probes/s':>9} {'API calls/s':>12} {'MB':>6}")
    for count in options.replicas:
        found = measure(count, options.seconds, options.changes)
        print(
            f"{found.replicas:8} {found.ready_seconds:8.0f} {found.core_percent:12.2f} {found.probes_per_second:9.1f}"
            f" {found.calls_per_second:12.2f} {found.memory_megabytes:6.0f}",
            flush=True,
        )


def measure(replicas: int, seconds: float, changes_per_second: float = 0.0) -> ObservingSample:
    """Measure a control plane with this number of ready replicas."""
    with tempfile.TemporaryDirectory(prefix="at-bench-") as folder:
        return asyncio.run(_clustered(Path(folder), replicas, seconds, changes_per_second))


async def _clustered(folder: Path, replicas: int, seconds: float, changes_per_second: float) -> ObservingSample:
    cluster = Cluster()
    async with cluster.running(folder) as configuration:
        return await asyncio.to_thread(_served, cluster, configuration, replicas, seconds, changes_per_second)


def _served(
    cluster: Cluster, configuration: Path, replicas: int, seconds: float, changes_per_second: float
) -> ObservingSample:
    with managing(
        configuration.parent / "bentoml",
        ATELIER_BACKEND="kubernetes",
        ATELIER_KUBERNETES_KUBECONFIG=str(configuration),
        ATELIER_KEEP_REPLICAS="true",  # the end of the server need not end the Pods
    ) as server:
        began = time.monotonic()
        _deploy(server, replicas)
        ready_seconds = time.monotonic() - began
        cluster.changes_per_second = changes_per_second
        time.sleep(SETTLE_SECONDS)
        used, probes, calls = _cpu_seconds(server), cluster.node.probes, len(cluster.api.calls)
        began = time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - began
        cluster.changes_per_second = 0.0
        return ObservingSample(
            replicas,
            ready_seconds,
            100 * (_cpu_seconds(server) - used) / lasted,
            (cluster.node.probes - probes) / lasted,
            (len(cluster.api.calls) - calls) / lasted,
            sum(process.memory_info().rss for process in _processes(server)) / 1e6,
        )


def _deploy(server: Management, replicas: int) -> None:
    """Deploy models of at most ``REPLICAS_OF_A_MODEL`` replicas, and wait until all are ready."""
    sizes = [min(REPLICAS_OF_A_MODEL, replicas - first) for first in range(0, replicas, REPLICAS_OF_A_MODEL)]
    with server.client() as api:
        for number, size in enumerate(sizes):
            scaling = {"min_replicas": size, "max_replicas": size}
            config = echo_config(f"model-{number}", scaling_config=scaling)
            api.post("/models/deploy", json={"config": config}).raise_for_status()
        deadline = time.monotonic() + START_SECONDS
        while any(len(ready(api, f"model-{number}")) < size for number, size in enumerate(sizes)):
            if time.monotonic() > deadline:
                raise TimeoutError("the replicas do not become ready")
            time.sleep(POLL_SECONDS)


def _cpu_seconds(server: Management) -> float:
    times = [process.cpu_times() for process in _processes(server)]
    return float(sum(spent.user + spent.system for spent in times))


def _processes(server: Management) -> list[psutil.Process]:
    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]
