"""What tests of replicas under load have in common: a server with the echo, a stopped replica, changes of revision."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.support.calls import deploy, until
from tests.support.load import Traffic
from tests.support.management_servers import Management, managing
from tests.support.running.figures import SLACK
from tests.support.victims import pid_of, ready

KILL_SECONDS: Final = 3.0
"""Seconds between two kills."""
ROTATION_SECONDS: Final = 3.0
"""Seconds after which a replica that does not answer gets no more requests."""


@contextmanager
def serving(bentos: Path, replicas: int, **environment: str) -> Iterator[tuple[Management, httpx.Client]]:
    """A server with so many replicas of the echo, all of them ready; half of them may be ended by ``scale``."""
    scaling = {"min_replicas": replicas // 2, "max_replicas": replicas}
    with managing(bentos, home=None, workers=1, **environment) as server, server.client() as api:
        deploy(api, scaling_config=scaling).raise_for_status()
        api.post("/models/echo/scale", json={"replicas": replicas}).raise_for_status()
        until(lambda: len(ready(api)) == replicas)
        yield server, api


@contextmanager
def stopped(server: Management, api: httpx.Client, replica_id: str) -> Iterator[float]:
    """Stop a replica (SIGSTOP) for as long as two timeouts of its callers, and give the moment of the stop.

    The block runs once the replica is out of rotation; at its end the replica goes on.
    """
    pid = pid_of(server.home, replica_id)
    since = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: replica_id not in ready(api), SLACK * 20)
        yield since
        until(lambda: time.monotonic() > since + 12)
    finally:
        os.kill(pid, signal.SIGCONT)


def exchanged(api: httpx.Client, traffic: Traffic) -> int:
    """Update the echo, and scale it down and up, until the load has ended; return the number of changes."""
    changes = 0
    while not traffic.over.is_set() or changes < 3:
        version = "2.0.0" if changes % 2 == 0 else "1.0.0"
        config = {
            "version": version,
            "docker_image": f"tests/echo:{version}",
            "environment_variables": {"ECHO_VERSION": version},
        }
        for path, method, body in (
            ("/models/echo", "PUT", {"config": config}),
            ("/models/echo/scale", "POST", {"replicas": 2}),
            ("/models/echo/scale", "POST", {"replicas": 4}),
        ):
            answer = api.request(method, path, params={"wait": 60}, json=body)
            assert answer.status_code == 200, answer.text
        changes += 3
    return changes
