"""Real servers of the management on free ports, and a Bento store with the echo Bento for deployments."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.running.preloaded import Command, Process, run, start
from tests.support.running.sharing import made_once
from tests.support.servers import ROOT, free_port

KEY = "your-api-key"
BENTOS = ROOT / "tests" / "bentos"
ECHO = BENTOS / "echo"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
SERVE = "import sys; from management.server import serve; serve('127.0.0.1', int(sys.argv[1]), int(sys.argv[2]))"
BUILD = """
import bentoml, sys
for version in sys.argv[2:]:
    bentoml.bentos.build_bentofile(sys.argv[1] + "/bentofile.yaml", version=version, build_ctx=sys.argv[1])
"""

KEPT = httpx.Limits(keepalive_expiry=2)
"""A connection is not used again at the moment at which the server closes it: after 5 s without a request."""


@dataclass(frozen=True)
class Management:
    """A running server of the management: its URL, process, home and log."""

    url: str
    pid: int
    home: Path
    log: Path

    def client(self, key: str | None = KEY, **headers: str) -> httpx.Client:
        """Return an HTTP client with paths below ``/api/v1``; it ignores the environment's proxies."""
        merged = {**({} if key is None else {"X-API-Key": key}), **headers}
        url = f"{self.url}/api/v1"
        return httpx.Client(base_url=url, headers=merged, timeout=120, trust_env=False, limits=KEPT)


def echo_store(folder: Path) -> Path:
    """Build a BentoML home with the Bento ``echo`` in versions 1.0.0 and 2.0.0, and return it."""
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    run(Command("bentoml", "-c", BUILD, [str(ECHO), "1.0.0", "2.0.0"]), cwd=ECHO, env=environment)
    return folder


def copied_echo(folder: Path) -> Path:
    """Return a copy of that home, which is built once a test run."""
    shutil.copytree(made_once("echo", echo_store), folder, symlinks=True, dirs_exist_ok=True)
    return folder


def many_store(folder: Path) -> Path:
    """Build a BentoML home with the Bentos ``many``, ``duo`` and ``echo``, as their authors would, and return it."""
    for name in ("many", "duo", "echo"):
        built(folder, BENTOS / name)
    return folder


def copied_many(folder: Path) -> Path:
    """Return a copy of that home, which is built once a test run."""
    shutil.copytree(made_once("many", many_store), folder, symlinks=True, dirs_exist_ok=True)
    return folder


def built(folder: Path, source: Path) -> Path:
    """Build a BentoML home with the Bento of a folder in version 1.0.0, and return it."""
    script = "import bentoml; bentoml.bentos.build_bentofile('bentofile.yaml', version='1.0.0', build_ctx='.')"
    run(Command("bentoml", "-c", script), cwd=source, env={**os.environ, "BENTOML_HOME": str(folder)})
    return folder


def echo_config(model_id: str = "echo", *, version: str = "1.0.0", **fields: object) -> dict[str, object]:
    """Return a ``config`` that deploys the echo Bento."""
    config: dict[str, object] = {
        "model_id": model_id,
        "name": "Echo",
        "version": version,
        "model_type": "multimodal",
        "framework": "onnx",
        "docker_image": f"tests/echo:{version}",
        "resource_requirements": {"cpu": "100m", "memory": "128Mi"},
    }
    return config | fields


@contextmanager
def managing(
    bentoml_home: Path, *, home: Path | None = None, workers: int = 1, **environment: str
) -> Iterator[Management]:
    """Serve the management until the block ends. Raises RuntimeError when it does not answer.

    ``home`` must be a short path because of the sockets in it; by default it is a temporary folder. ``environment`` are
    additional variables of the server, which may replace ``ATELIER_API_KEY``.
    """
    own = Path(tempfile.mkdtemp(prefix="at-")) if home is None else home
    log = Path(tempfile.mkstemp(prefix="atelier-management-", suffix=".log")[1])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "ATELIER_HOME": str(own),
        "ATELIER_API_KEY": KEY,
        "ATELIER_PUBLIC_URL": url,
        "BENTOML_HOME": str(bentoml_home),
        **environment,
    }
    with log.open("wb") as out:
        command = Command("server", "-c", SERVE, [str(port), str(workers)])
        process = start(command, cwd=ROOT, env={**os.environ, **variables}, output=out)
        try:
            await_health(process, url, log)
            yield Management(url, process.pid, own, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.unlink()
            if home is None:
                shutil.rmtree(own, ignore_errors=True)


def await_health(process: Process, url: str, log: Path) -> None:
    """Wait until the server is healthy and a worker holds the lease."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(f"{url}/api/v1/health").json().get("lease") == "held":
                    return
            except (httpx.TransportError, ValueError):
                pass
            time.sleep(0.1)
    raise RuntimeError(log.read_text()[-3000:])
