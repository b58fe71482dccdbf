"""What an operator does with the echo on any backend, and callers that must not notice it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import httpx

from tests.support.calls import deploy, until
from tests.support.load import Ask, Traffic, callers
from tests.support.management_servers import Management
from tests.support.running.effort import effort
from tests.support.victims import ready

WAIT_SECONDS: Final = 180
CALLS: Final = effort(2000, 500)
"""Requests during each change, at least."""
CALLERS: Final = 4


def deployed(api: httpx.Client, replicas: int, room: Mapping[str, str]) -> None:
    """Deploy the echo, and wait until so many replicas are ready."""
    answer = deploy(api, resource_requirements=room, scaling_config={"min_replicas": 1, "max_replicas": 4})
    assert answer.status_code in (200, 202), answer.text
    scaled(api, replicas)


def scaled(api: httpx.Client, replicas: int) -> None:
    """Scale the echo, and wait until so many replicas are ready."""
    answer = api.post("/models/echo/scale", params={"wait": WAIT_SECONDS}, json={"replicas": replicas})
    assert answer.status_code == 200, answer.text
    until(lambda: len(ready(api)) == replicas, WAIT_SECONDS)


def updated(api: httpx.Client, version: str) -> None:
    """Update the echo, and wait until every replica is of that version."""
    config = {
        "version": version,
        "docker_image": f"tests/echo:{version}",
        "environment_variables": {"ECHO_VERSION": version},
    }
    answer = api.put("/models/echo", params={"wait": WAIT_SECONDS}, json={"config": config})
    assert answer.status_code == 200, answer.text


def under_load(
    server: Management, change: Callable[[], object], ask: Ask | None = None, *, least: int = CALLS
) -> Traffic:
    """Make a change while callers ask, and go on until so many answers have come."""
    with callers(server, CALLERS, ask) as traffic:
        change()
        until(lambda: len(traffic.answers) >= least or traffic.over.is_set(), WAIT_SECONDS)
    return traffic


def none_failed(traffic: Traffic) -> str:
    """Return the count of requests, of which none may have failed."""
    assert not traffic.failed, traffic.told
    assert len(traffic.answers) >= CALLS
    return f"0 failed of {len(traffic.answers):,}"
