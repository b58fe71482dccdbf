"""deploy/ as a user runs it: a project of compose's own name, with nginx on free ports, and a load that counts."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.deploy.nginx_server import DEPLOY, PORTS, require
from tests.support.docker_engine import docker, inspected
from tests.support.servers import ROOT, free_ports

HEALTHY_SECONDS = 240.0
NGINX = "tests/nginx:latest"
VARIABLES = {name: name.upper().replace("-", "_") for name in PORTS}


@dataclass(frozen=True)
class Deployment:
    """Containers of one project."""

    environment: dict[str, str]

    @property
    def project(self) -> str:
        """What compose calls it."""
        return self.environment["COMPOSE_PROJECT_NAME"]

    @property
    def variables(self) -> dict[str, str]:
        """The environment that its commands are called in."""
        return {**os.environ, **self.environment}

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A script of deploy/, to its end; it is bounded in time, and may fail."""
        return subprocess.run(
            [str(DEPLOY / script), *arguments],
            env={**self.variables, **more},
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def compose(self, *arguments: str, **more: str) -> str:
        """What ``deploy/compose`` prints; raises RuntimeError with all that it wrote."""
        done = self.run("compose", "--profile", "atelier", *arguments, **more)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Starts services, and returns when all containers of the project are healthy."""
        self.compose("up", "-d", *arguments)
        deadline = time.monotonic() + HEALTHY_SECONDS
        while waiting := [container for container in self.containers() if health(container) != "healthy"]:
            if time.monotonic() > deadline:
                raise RuntimeError(docker("logs", "--tail", "30", waiting[0]))
            time.sleep(0.5)

    def containers(self, service: str | None = None) -> list[str]:
        """Those that run, of a service or of all."""
        asked = ["--filter", f"label=com.docker.compose.project={self.project}"]
        if service:
            asked += ["--filter", f"label=com.docker.compose.service={service}"]
        return docker("ps", "-q", "--no-trunc", *asked).split()

    def left(self) -> list[str]:
        """Everything that the engine has of the project."""
        label = ("--filter", f"label=com.docker.compose.project={self.project}")
        kinds = (("ps", "-aq"), ("network", "ls", "-q"), ("volume", "ls", "-q"))
        return [name for kind in kinds for name in docker(*kind, *label).split()]

    def url(self, service: str | None = None) -> str:
        """Where nginx answers: on the one port, or on a service's own."""
        name = f"{VARIABLES[service]}_PORT" if service else "HTTP_PORT"
        return f"http://127.0.0.1:{self.environment[name].rsplit(':', maxsplit=1)[-1]}"

    def client(self, service: str | None = None) -> httpx.Client:
        """A client for it, which nothing in the environment diverts."""
        return httpx.Client(base_url=self.url(service), timeout=90, trust_env=False)

    def requests(self) -> list[dict[str, Any]]:
        """What nginx logged of requests."""
        (nginx,) = self.containers("nginx")
        return [json.loads(line) for line in docker("logs", nginx).splitlines() if line.startswith("{")]


def health(container: str) -> str:
    """What the engine's checks found."""
    return str(inspected(container)["State"].get("Health", {}).get("Status"))


@contextmanager
def deployment(**environment: str) -> Iterator[Deployment]:
    """A project that has nothing running yet; nothing of it is left when the block ends."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        require("docker-compose")
    docker("build", "-q", "-t", NGINX, str(ROOT / "tests" / "deploy" / "nginx_image"))
    front, *free = map(str, free_ports(1 + len(VARIABLES)))
    ports = {f"{variable}_PORT": port for variable, port in zip(VARIABLES.values(), free, strict=True)}
    own = {
        "COMPOSE_PROJECT_NAME": f"atelier-tests-{uuid4().hex[:8]}",
        "NGINX_IMAGE": NGINX,
        "HTTP_PORT": f"127.0.0.1:{front}",
    }
    running = Deployment(own | ports | environment)
    try:
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "15")


@dataclass
class Load:
    """What the callers of a load were answered."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def failed(self) -> dict[int | str, int]:
        """All but 200."""
        return {status: count for status, count in self.statuses.items() if status != 200}


@contextmanager
def load(url: str, body: dict[str, Any], *, callers: int = 4) -> Iterator[Load]:
    """Callers who ask again and again, each time by a new connection, until the block ends."""
    told, over, lock = Load(), threading.Event(), threading.Lock()

    def call() -> None:
        once = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(limits=once, timeout=60, trust_env=False) as client:
            while not over.is_set():
                began = time.monotonic()
                try:
                    status: int | str = client.post(url, json=body).status_code
                except httpx.TransportError as error:
                    status = type(error).__name__
                with lock:
                    told.statuses[status] += 1
                    told.slowest = max(told.slowest, time.monotonic() - began)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        over.set()
        for worker in threads:
            worker.join()
