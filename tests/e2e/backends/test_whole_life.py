"""A model from its deployment to its deletion on every backend, under load, while a replica and a leader are killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import httpx

from tests.e2e.backends.engines import Engine
from tests.e2e.backends.operations import CALLS, WAIT_SECONDS, deployed, none_failed, scaled, under_load, updated
from tests.support.calls import infer, until
from tests.support.chains.chain import Chain, ControlPlane, chain
from tests.support.load import callers, percentile
from tests.support.management_servers import Management
from tests.support.running.figures import SLACK, Figure
from tests.support.victims import details, ready

LEASE_SECONDS: Final = 3
"""What a control plane has unless it is told otherwise."""
HAND_OVER_SECONDS: Final = 5.0
CALLS_ALONE: Final = 300
"""Requests one after another, of whose times the median is taken."""


def test_a_model_lives_its_whole_life(engine: Engine, home: Path, echo_bentos: Path, figure: Figure) -> None:
    said: dict[str, str] = {}
    with chain(echo_bentos, home, ATELIER_LEASE_SECONDS=str(LEASE_SECONDS), **engine.environment()) as servers:
        leader = servers.start()
        first_holder = servers.holder()
        other = servers.start()
        with leader.server.client() as api:
            deployed(api, 2, engine.room)
            assert infer(api, {"n": 1}).json()["output_data"]["version"] == "1.0.0"
            took = _median_seconds(other.server)
            said["scaling 1-3-1"] = none_failed(under_load(other.server, lambda: _scaled_to(api, 1, 3, 1)))
            scaled(api, 2)
            traffic = under_load(other.server, lambda: updated(api, "2.0.0"))
            said["a rolling update"] = none_failed(traffic)
            assert {answer.version for answer in traffic.answers} == {"1.0.0", "2.0.0"}
            victim = min(ready(api))
            said["a killed replica"] = none_failed(
                under_load(other.server, lambda: _killed(engine, home, api, victim)),
            )
            (failed,) = (each for each in details(api) if each["replica_id"] == victim)
            assert failed["reason"].startswith(engine.reason)
        if servers.holder() != first_holder:  # a busy machine made the leader late
            leader, other = other, leader
        with other.server.client() as api:
            before = ready(api)
            handed_over: list[float] = []
            traffic = under_load(other.server, lambda: handed_over.append(_lead_after(servers, leader)))
            said["a killed leader"] = none_failed(traffic)
            assert ready(api) == before, "they are adopted"
            scaled(api, 1)
            assert ready(api) < before, "by the next leader, which also ends them"
            assert api.delete("/models/echo", params={"wait": WAIT_SECONDS}).status_code == 200
            until(lambda: not engine.left(home), WAIT_SECONDS)
    outcomes = "; ".join(f"{what}: {outcome}" for what, outcome in said.items())
    figure(
        f"{outcomes}, the next after {handed_over[0]:.1f} s; a request alone takes {1000 * took:.1f} ms",
        goal=f"0 of {CALLS:,} each, {HAND_OVER_SECONDS:g} s, nothing left; 1 ms more than with processes",
    )
    assert handed_over[0] <= SLACK * HAND_OVER_SECONDS


def _median_seconds(server: Management) -> float:
    """Return the median time of requests one after another."""
    with callers(server, 1, most=CALLS_ALONE) as alone:
        until(alone.over.is_set)
    assert not alone.failed, alone.told
    return percentile(alone.answers, 50)


def _scaled_to(api: httpx.Client, *numbers: int) -> None:
    for replicas in numbers:
        scaled(api, replicas)


def _killed(engine: Engine, home: Path, api: httpx.Client, victim: str) -> None:
    """Kill a replica, and wait until two others are ready."""
    engine.kill(home, victim)
    until(lambda: len(ready(api) - {victim}) == 2, WAIT_SECONDS)


def _lead_after(servers: Chain, leader: ControlPlane) -> float:
    """Kill the leader, and return the seconds until another server leads."""
    holder, since = servers.holder(), time.monotonic()
    leader.kill()
    until(lambda: servers.holder() != holder)
    return time.monotonic() - since
