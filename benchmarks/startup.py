"""How long a model takes until it is ready, and how much memory it holds: python -m benchmarks.startup [SERVICE ...].

Each service is started as a managed replica is, as one process (uvicorn over the service's application), a few times
in turn, and asked until /readyz says yes. Prints the median, the least and the most of the seconds from the start of
its process, and its resident memory after a first answer to /health.
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
PATIENCE_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = 0.01
SERVE: Final = """
import sys, bentoml, uvicorn
application = bentoml.load(sys.argv[1]).to_asgi(is_main=True)
uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


@dataclass(frozen=True)
class Start:
    """One start: seconds until ready, and megabytes resident."""

    seconds: float
    megabytes: float


def started(service: str) -> Start:
    """Start a service, measure it and stop it. Raises RuntimeError when it does not become ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True"}
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", SERVE, service, str(port)], env=environment)
    try:
        while _status(port, "/readyz") != 200:
            if process.poll() is not None or time.perf_counter() - begun > PATIENCE_SECONDS:
                raise RuntimeError(f"{service} does not become ready")
            time.sleep(PAUSE_SECONDS)
        seconds = time.perf_counter() - begun
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
    """The command line at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("services", nargs="*", default=SERVICES, metavar="SERVICE", help=f"default: {SERVICES}")
    parser.add_argument("--times", type=int, default=5, help="starts of each (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{'service':<32} {'ready, s':>20} {'memory, MB':>11}")
    for service in arguments.services:
        starts = [started(service) for _ in range(arguments.times)]
        seconds = [one.seconds for one in starts]
        middle = statistics.median(seconds)
        memory = statistics.median(one.megabytes for one in starts)
        print(f"{service:<32} {f'{middle:.2f} ({min(seconds):.2f}-{max(seconds):.2f})':>20} {memory:>11.0f}")


if __name__ == "__main__":
    main()
