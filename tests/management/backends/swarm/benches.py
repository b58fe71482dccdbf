"""Launchers on a swarm of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from management.backends.launcher import Launch
from management.backends.swarm.client import SwarmManager
from management.backends.swarm.launcher import SwarmLauncher
from management.configuration import Settings
from management.domain.records import Resources
from tests.doubles.launchers import Bench, launch
from tests.doubles.management import settings
from tests.support.swarm.nodes import Node, Nodes

ROOM: Final = Resources(1000, 2**28, 0)
OVERCOMMIT: Final = 8.0


def wanted(**changes: Any) -> Launch:
    """A launch with CPU enough to start soon."""
    return replace(launch(), **{"resources": ROOM, **changes})


def name(replica_id: str) -> str:
    return f"atelier-{replica_id}"


def launcher_of(manager: SwarmManager, told: Settings, **changes: Any) -> SwarmLauncher:
    """A launcher whose replicas publish ports on their nodes, unless the changes say something else."""
    own = told.backends.swarm.model_copy(update={"address": "host", **changes})
    return SwarmLauncher(manager, own, told.replicas, told.storage.home, OVERCOMMIT)


@asynccontextmanager
async def benched(swarm: Nodes, home: Path, **changes: Any) -> AsyncIterator[tuple[Bench, SwarmManager]]:
    """A bench over the swarm's manager; nothing that it started is left afterwards."""
    told, manager = settings(home), SwarmManager(swarm.manager.socket)
    made: list[SwarmLauncher] = []

    def again() -> SwarmLauncher:
        made.append(launcher_of(manager, told, **changes))
        return made[-1]

    launcher = again()

    def kill(replica_id: str) -> None:
        node, container = placed(swarm, replica_id)
        node.docker("kill", container)

    loud = wanted(environment={"ECHO_FAIL": "1"})
    try:
        yield Bench(launcher, wanted(), loud, again, kill), manager
    finally:
        for replica_id in await launcher.list_leftovers():
            await launcher.stop(replica_id, 0.0)
            await launcher.remove_files(replica_id)
        for each in made:
            await each.close()


def placed(swarm: Nodes, replica_id: str) -> tuple[Node, str]:
    """Return the node of a replica, and its container there."""
    node = swarm.place_of(name(replica_id))
    filters = ("--filter", f"label=com.docker.swarm.service.name={name(replica_id)}")
    return node, node.docker("ps", "--quiet", "--no-trunc", *filters)
