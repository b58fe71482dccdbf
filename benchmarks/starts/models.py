"""Measures a model's time until ready and its memory: python -m benchmarks.starts.models [SERVICE ...].

Each service is started a few times as a managed replica is, as one process (uvicorn with the service's application),
and /readyz is polled. Prints the median, minimum and maximum of the seconds until ready, and the resident memory after
an answer to /health.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Final

import psutil

SERVICES: Final = ("runners.tcm.diagnosis:Diagnosis", "runners.tcm.treatment:Treatment")
READY_TIMEOUT_SECONDS: Final = 120.0
POLL_INTERVAL_SECONDS: Final = 0.01
SERVE: Final = """
import sys, bentoml, uvicorn
application = bentoml.load(sys.argv[1]).to_asgi(is_main=True)
uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


@dataclass(frozen=True)
class Start:
    """Seconds until ready, and resident memory in MB."""

    seconds: float
    megabytes: float


def measure_start(service: str) -> Start:
    """Start a service, measure it and stop it. Raises RuntimeError when it does not become ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True"}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", SERVE, service, str(port)], env=environment)
    try:
        while _status(port, "/readyz") != 200:
            if process.poll() is not None or time.perf_counter() - started > READY_TIMEOUT_SECONDS:
                raise RuntimeError(f"{service} does not become ready")
            time.sleep(POLL_INTERVAL_SECONDS)
        seconds = time.perf_counter() - started
        _status(port, "/health")
        return Start(seconds, psutil.Process(process.pid).memory_info().rss / 1e6)
    finally:
        process.terminate()
        process.wait()


def _status(port: int, path: str) -> int | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts.models", description=__doc__)
    parser.add_argument("services", nargs="*", default=SERVICES, metavar="SERVICE", help=f"default: {SERVICES}")
    parser.add_argument("--times", type=int, default=5, help="starts of each (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{'service':<32} {'ready, s':>20} {'memory, MB':>11}")
    for service in arguments.services:
        starts = [measure_start(service) for _ in range(arguments.times)]
        seconds = [start.seconds for start in starts]
        median = statistics.median(seconds)
        memory = statistics.median(start.megabytes for start in starts)
        print(f"{service:<32} {f'{median:.2f} ({min(seconds):.2f}-{max(seconds):.2f})':>20} {memory:>11.0f}")


if __name__ == "__main__":
    main()
