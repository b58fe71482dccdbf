"""What a manager knows of this control plane's replicas: their services, tasks and nodes, listed once for all.

Every replica is observed at each turn of the supervisor. All of them share one list, which is at most
``VALID_SECONDS`` old.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from management.backends.docker.container import INSTANCE, REPLICA
from management.backends.swarm.client import SwarmManager
from management.backends.swarm.service import is_placeholder

VALID_SECONDS: Final = 0.9
"""Seconds for which a list is used again, unless this control plane changed something; probes are made each time."""

Description = Mapping[str, Any]
"""A description of Swarm's, as its API has it."""


@dataclass(frozen=True)
class ReplicaService:
    """The service of one replica, with the tasks that ran or will run it, the oldest first."""

    service: Description
    tasks: Sequence[Description] = ()

    @property
    def task(self) -> Description:
        """The newest task, which there must be; an older one ended when somebody else changed the service."""
        return self.tasks[-1]


@dataclass(frozen=True)
class ClusterView:
    """All services of this control plane at one moment."""

    replicas: Mapping[str, ReplicaService] = field(default_factory=dict)
    """By replica id."""
    nodes: Mapping[str, Description] = field(default_factory=dict)
    """All nodes of the swarm, by id."""


class Cluster:
    """Lists services, tasks and nodes for everybody who asks at about the same time."""

    def __init__(self, manager: SwarmManager, instance: str) -> None:
        """``instance`` is the id of the control plane, whose services have it as a label."""
        self._manager, self._instance = manager, instance
        self._listing: asyncio.Task[ClusterView] | None = None
        self._valid_until = 0.0

    async def view(self) -> ClusterView:
        """Return a list that is at most ``VALID_SECONDS`` old. Raises BackendUnavailable."""
        listing, now = self._listing, asyncio.get_running_loop().time()
        if listing is None or (listing.done() and (now > self._valid_until or listing.exception() is not None)):
            self._listing = listing = asyncio.create_task(self._list())
            self._valid_until = now + VALID_SECONDS
        return await asyncio.shield(listing)

    async def view_now(self) -> ClusterView:
        """Return a list that begins now. Raises BackendUnavailable."""
        self.changed()
        return await self.view()

    def changed(self) -> None:
        """Forget the last list, and that which is being made: something was changed since it began."""
        self._listing = None

    async def _list(self) -> ClusterView:
        return await self._manager.call(lambda client: read(client, self._instance))


def read(client: Any, instance: str) -> ClusterView:
    """List everything with the low-level client.

    Tasks come before services: a task without a service is left out, and no service seems to have lost its task.
    """
    filters = {"label": [f"{INSTANCE}={instance}", REPLICA]}
    tasks: dict[str, list[Description]] = defaultdict(list)
    for task in sorted(client.tasks(filters=filters), key=_created_at):
        if not is_placeholder(task):
            tasks[task["ServiceID"]].append(task)
    replicas = {
        service["Spec"]["Labels"][REPLICA]: ReplicaService(service, tasks[service["ID"]])
        for service in client.services(filters=filters)
    }
    return ClusterView(replicas, {node["ID"]: node for node in client.nodes()})


def _created_at(task: Description) -> tuple[str, str]:
    """Return what tasks are ordered by; Swarm leaves out zeros at the end of a time."""
    seconds, _, fraction = str(task["CreatedAt"]).removesuffix("Z").partition(".")
    return seconds, fraction.ljust(9, "0")
