"""Measures how long a second ``make serve`` takes to be healthy: python -m benchmarks.starts.second_start [FOLDER ...].

Each folder is a checkout whose environment is installed; the default is this checkout. A first start is not counted: it
publishes models and builds Bentos. Then the folders are started in turn. Prints the median, minimum and maximum of the
seconds until ``GET /health`` answers 200, and of the CPU seconds of all processes until then, which depend less on
other work on the machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from web.server import ports

HOST: Final = "127.0.0.1"
FIRST_START_SECONDS: Final = 900.0
POLL_INTERVAL_SECONDS: Final = 0.02
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class SecondStart:
    """The cost of a start until the server was healthy."""

    seconds: float
    cpu_seconds: float


def start(folder: Path) -> SecondStart:
    """Run ``make serve`` in a checkout until it is healthy, and stop it. Raises RuntimeError if it never is."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    started = time.perf_counter()
    command = ["make", "--silent", "serve", f"HOST={HOST}", f"PORT={port}"]
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not ports.answers(HOST, port):
            if process.poll() is not None or time.perf_counter() - started > FIRST_START_SECONDS:
                raise RuntimeError(f"{folder} does not become healthy")
            time.sleep(POLL_INTERVAL_SECONDS)
        return SecondStart(time.perf_counter() - started, _cpu_seconds(process))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and its descendants, including those that have ended."""
    return sum(sum(member.cpu_times()[:4]) for member in (process, *process.children(recursive=True)))


def _figures(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts.second_start", description=__doc__)
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[ROOT], metavar="FOLDER", help="default: this checkout"
    )
    parser.add_argument("--times", type=int, default=5, help="second starts of each (default: %(default)s)")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        start(folder)
    rounds = [[start(folder) for folder in arguments.folders] for _ in range(arguments.times)]
    print(f"{'checkout':<32} {'healthy, s':>20} {'CPU, s':>20}")
    for folder, starts in zip(arguments.folders, zip(*rounds, strict=True), strict=True):
        seconds, cpu = ([s.seconds for s in starts], [s.cpu_seconds for s in starts])
        print(f"{folder.resolve().name:<32} {_figures(seconds):>20} {_figures(cpu):>20}")


if __name__ == "__main__":
    main()
