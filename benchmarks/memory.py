"""Measure the memory of ``make serve``, process by process: python -m benchmarks.memory.

The front door is started with all models. Each process's proportional set size (PSS) is printed in MB twice: at rest,
and after every model has answered some requests. Shared pages count once among the processes that share them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import psutil

from tests.support.servers import ROOT, Server, serving

REQUESTS: Final = 20
EXAMPLE: Final = ROOT / "examples" / "forest.jpg"
TEXT: Final = ROOT / "examples" / "harbour.txt"
SYMPTOMS: Final = {"symptoms": ["头痛", "乏力", "食欲不振"]}


def main() -> None:
    """Start the server, and print a table."""
    argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="at-memory-") as folder:
        os.environ["BENTOML_HOME"] = folder
        from runners.artifacts import publish  # reads the home when it is imported

        publish.publish()
        with serving("service:Atelier", Path(folder)) as server:
            idle = megabytes(server)
            _ask_every_model(server)
            busy = megabytes(server)
    print(f"{'process':<24} {'idle, MB':>10} {'after requests, MB':>20}")
    for name in sorted(busy, key=busy.__getitem__, reverse=True):
        print(f"{name:<24} {idle[name]:>10.0f} {busy[name]:>20.0f}")
    print(f"{'together':<24} {idle.total():>10.0f} {busy.total():>20.0f}")


def megabytes(server: Server) -> Counter[str]:
    """Return the PSS in MB of the launcher and all its descendants, by kind of process."""
    launcher = psutil.Process(server.pid)
    sizes: Counter[str] = Counter()
    for process in (launcher, *launcher.children(recursive=True)):
        try:
            sizes[_name(process.cmdline())] += round(process.memory_full_info().pss / 1e6)
        except psutil.NoSuchProcess:
            continue
    return sizes


def _name(command: list[str]) -> str:
    if "--service-name" in command:
        return command[command.index("--service-name") + 1]
    if "runners.documents.pool.reader_main" in command:
        return "reading processes"
    return "launcher and arbiter"


def _ask_every_model(server: Server) -> None:
    with server.client() as client:
        for _ in range(REQUESTS):
            picture = EXAMPLE.read_bytes()
            client.post("/classify", files={"image": picture}).raise_for_status()
            client.post("/embed", files={"image": picture}).raise_for_status()
            client.post("/summarize/file", files={"file": ("harbour.txt", TEXT.read_bytes())}).raise_for_status()
            client.post("/diagnose", json=SYMPTOMS).raise_for_status()
            client.post("/treat", json=SYMPTOMS).raise_for_status()


if __name__ == "__main__":
    main()
