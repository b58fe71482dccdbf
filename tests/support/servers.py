"""Real servers: the launcher on a free port, as a user starts it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A running server: its URL, its launcher's process, and its log."""

    url: str
    pid: int
    log: Path

    def client(self) -> httpx.Client:
        """Return an HTTP client that ignores the environment's proxies."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def model_process(self, service: str) -> psutil.Process:
        """Return the process of a model of the server."""
        family = psutil.Process(self.pid).children(recursive=True)
        return next(process for process in family if f"--service-name {service}" in " ".join(process.cmdline()))


def free_port() -> int:
    """Return a TCP port on which no process listens now."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now, and of which no two are the same."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def serving(service: str, home: Path, project: Path = ROOT, /, **environment: str) -> Iterator[Server]:
    """Serve by the launcher until the block ends. Raises RuntimeError when it does not become healthy.

    ``project`` is the folder with the code.
    """
    port = free_port()
    log = Path(tempfile.mkstemp(prefix="atelier-server-", suffix=".log")[1])
    # A home of its own, with the same models: a second server on one BENTOML_HOME deletes the first one's metrics.
    own = Path(tempfile.mkdtemp(prefix="atelier-home-"))
    for kept in ("models", "bentos"):
        (own / kept).symlink_to(home / kept)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.launch", service, "--port", str(port)],
            cwd=project,
            env={
                **os.environ,
                "BENTOML_HOME": str(own),
                "ATELIER_HOME": str(own),
                "PYTHONWARNINGS": "default",
                **environment,
            },
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_announcement(process, log)
            yield Server(f"http://127.0.0.1:{port}", process.pid, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
            shutil.rmtree(own, ignore_errors=True)  # the models are links, whose targets stay
            log.unlink()


def _await_announcement(process: subprocess.Popen[bytes], log: Path) -> None:
    # The launcher prints its address once every model answers, and ends when one cannot.
    while "Atelier answers on" not in log.read_text():
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(log.read_text()[-3000:])
