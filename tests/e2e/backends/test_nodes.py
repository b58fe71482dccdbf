"""Nodes that are drained, killed and unplugged under load, on every backend that has nodes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.e2e.backends.engines import NodesEngine
from tests.e2e.backends.operations import CALLERS, CALLS, WAIT_SECONDS, deployed, none_failed, under_load
from tests.support.calls import status, until
from tests.support.chains.chain import chain
from tests.support.load import Ask, Traffic, callers
from tests.support.running.figures import SLACK, Figure
from tests.support.victims import ready

SECOND: Final = "node2"
ELSEWHERE_SECONDS: Final = 10.0
"""Seconds in which replicas serve elsewhere, once the engine has found that their node is lost."""
SLOW: Final = Ask(input_data={"sleep": 0.05}, timeout=5)
"""What leaves the machine time to start replicas."""
AROUND: Final = 200
"""Requests before a node is lost, and after its replicas serve elsewhere."""


def on_both(cluster: NodesEngine, home: Path, api: httpx.Client) -> bool:
    places = cluster.places(home)
    return {places.get(replica) for replica in ready(api)} == {"node1", SECOND}


def elsewhere(cluster: NodesEngine, home: Path, api: httpx.Client, replicas: int = 2) -> bool:
    """Whether so many replicas are ready, and none of them is on the second node."""
    places = cluster.places(home)
    serving = ready(api)
    return len(serving) == replicas and {places.get(replica) for replica in serving} == {"node1"}


def answered(traffic: Traffic, number: int) -> None:
    """Wait until so many requests more were answered."""
    enough = len(traffic.answers) + number
    until(lambda: len(traffic.answers) >= enough or traffic.over.is_set(), WAIT_SECONDS)


def test_a_drained_node_costs_no_request(cluster: NodesEngine, home: Path, echo_bentos: Path, figure: Figure) -> None:
    with chain(echo_bentos, home, **cluster.environment()) as servers:
        first = servers.start()
        with first.server.client() as api:
            deployed(api, 2, cluster.room)
            until(lambda: on_both(cluster, home, api))
            seconds = 0.0

            def drain() -> None:
                nonlocal seconds
                since = time.monotonic()
                with cluster.drained(SECOND):
                    until(lambda: elsewhere(cluster, home, api), WAIT_SECONDS)
                    seconds = time.monotonic() - since

            told = none_failed(under_load(first.server, drain))
            assert status(api)["status"] == "running"
    figure(f"{told}; two replicas elsewhere after {seconds:.1f} s", goal=f"0 failed of {CALLS:,}")


@pytest.mark.parametrize("fault", ["killed", "unplugged"])
def test_a_lost_node_fails_only_what_is_in_flight_on_it(
    fault: str, cluster: NodesEngine, home: Path, echo_bentos: Path, figure: Figure
) -> None:
    with chain(echo_bentos, home, **cluster.environment()) as servers:
        first = servers.start()
        with first.server.client() as api:
            deployed(api, 2, cluster.room)
            until(lambda: on_both(cluster, home, api))
            with callers(first.server, CALLERS, SLOW) as traffic:
                answered(traffic, AROUND)
                began = time.monotonic()
                with getattr(cluster, fault)(SECOND):
                    until(lambda: cluster.is_lost(SECOND), WAIT_SECONDS)
                    seen = time.monotonic()
                    until(lambda: elsewhere(cluster, home, api), WAIT_SECONDS)
                    served = time.monotonic()
                    answered(traffic, AROUND)
            final = status(api)
    last = max((answer.began - began for answer in traffic.failed), default=0.0)
    figure(
        f"{len(traffic.failed)} failed of {len(traffic.answers):,}, the last began {last:.1f} s after; "
        f"lost after {seen - began:.1f} s, two replicas elsewhere {served - seen:.1f} s later",
        goal=f"at most {CALLERS} failed, {ELSEWHERE_SECONDS:g} s",
    )
    assert len(traffic.failed) <= CALLERS, traffic.told
    assert served - seen <= SLACK * ELSEWHERE_SECONDS
    assert final["replicas"]["ready"] == 2, final
