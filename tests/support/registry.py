"""A real image registry on a free port: Debian's ``docker-registry``."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.docker_engine import docker
from tests.support.servers import free_port

START_SECONDS = 60.0
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{host}:{port}"}}
"""


@contextmanager
def registry(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a registry until the block ends, and yield its address. Skips the test where it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(folder=folder / "registry", host=host, port=port))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _await(process, f"{host}:{port}")
        yield f"{host}:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def pushed(address: str, image: str) -> Iterator[str]:
    """Push an image and remove it from the engine; yields its name. A pulled image is removed afterwards."""
    name = f"{address}/{image}"
    docker("tag", image, name)
    docker("push", name)
    docker("rmi", name)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


def _await(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.get(f"http://{address}/v2/")
                return
            except httpx.TransportError:
                time.sleep(0.1)
    raise RuntimeError("the registry does not answer")
