"""Replicas as services of a swarm keep the contract of all launchers, wherever they are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.launchers import (
    CONTRACT,
    Bench,
    another_launcher_finds_what_runs_and_can_end_it,
    what_is_killed_is_seen_with_a_reason,
)
from tests.management.backends.swarm.benches import benched
from tests.support.running.effort import effort
from tests.support.swarm.namespaces import run_in
from tests.support.swarm.nodes import Nodes

# The ``docker`` library leaves its socket to the garbage collector where it finds no engine.
pytestmark = [pytest.mark.swarm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

Clause = Callable[[Bench], Awaitable[None]]
NETWORK = "atelier-contract"
BRIEFLY = (another_launcher_finds_what_runs_and_can_end_it, what_is_killed_is_seen_with_a_reason)
"""What depends on where replicas are called."""
MANAGER = ("node.role==manager",)
"""Where the usage of a replica is measured, which a clause asks for."""


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_services_with_ports_on_their_nodes_keep_the_contract(clause: Clause, swarm: Nodes, home: Path) -> None:
    async with benched(swarm, home, constraints=MANAGER) as (bench, _):
        await clause(bench)


@pytest.fixture(scope="module")
def inside(swarm: Nodes) -> Iterator[Path]:
    """The network namespace of a container of the manager that is in the overlay network."""
    swarm.manager.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    image = "tests/echo:1.0.0"
    started = swarm.manager.docker("run", "--detach", "--network", NETWORK, "--entrypoint", "sleep", image, "infinity")
    yield swarm.manager.network_of(started)
    swarm.manager.docker("rm", "--force", started)
    swarm.manager.docker("network", "rm", NETWORK)


@pytest.mark.parametrize("clause", effort(CONTRACT, BRIEFLY), ids=lambda one: one.__name__)
def test_services_in_an_overlay_network_keep_the_contract(
    clause: Clause, swarm: Nodes, home: Path, inside: Path
) -> None:
    own: dict[str, Any] = {"address": "overlay", "network": NETWORK, "constraints": MANAGER}

    async def work() -> None:
        async with benched(swarm, home, **own) as (bench, _):
            await clause(bench)

    run_in(inside, work)
