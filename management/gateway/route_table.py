"""The models as the gateway knows them: a line before each, and connections to its replicas. Kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Final

from management.backends.base import Headers, no_headers
from management.counters import ModelCounters
from management.domain.records import Deployment, Replica
from management.errors import ModelGaveUp, ModelNotReady, ModelStopped
from management.gateway.queue import QueueLimits, RequestQueue
from management.gateway.replica_client import ReplicaClient

FIRST_START: Final = 5.0
"""Seconds that a model's start is taken to last before one was measured."""
LATEST_RETRY: Final = 60


@dataclass
class Route:
    """The way to one deployment's replicas."""

    deployment: Deployment
    queue: RequestQueue
    clients: dict[str, ReplicaClient] = field(default_factory=dict)
    start_seconds: float = FIRST_START
    """How long the last replica took to become ready."""
    last_request_at: float = 0.0
    """Unix time of the last request."""
    counters: ModelCounters = field(default_factory=ModelCounters)
    """Gone with the deployment, as its series are."""

    @property
    def model_id(self) -> str:
        """The deployment's."""
        return self.deployment.model_id

    def not_ready(self) -> ModelNotReady:
        """The error while nothing is ready; with ``Retry-After`` only where time alone helps."""
        about = {"model_id": self.model_id}
        if self.deployment.failed:
            return ModelGaveUp(about)
        if self.deployment.replicas == 0 and not self.deployment.scaled_to_zero:
            return ModelStopped(about)
        return ModelNotReady(about, retry_after=max(1, min(LATEST_RETRY, ceil(self.start_seconds))))


class RouteTable:
    """Every model's."""

    def __init__(self, rules: QueueLimits, headers: Headers = no_headers) -> None:
        """``headers`` are what a replica wants with each request."""
        self._rules, self._headers = rules, headers
        self._routes: dict[str, Route] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, model_id: str) -> Route | None:
        """The route to that model."""
        return self._routes.get(model_id)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def learn(self, deployments: Iterable[Deployment], ready: Iterable[Replica]) -> None:
        """Which models there are, and which of their replicas requests may be sent to, from now on."""
        wanted = {one.model_id: one for one in deployments if not one.deletion}
        replicas: dict[str, dict[str, Replica]] = {one.id: {} for one in wanted.values()}
        for one in ready:
            if one.deployment_id in replicas:
                replicas[one.deployment_id][one.id] = one
        for model_id in list(self._routes):
            # A new deployment of an old name shares nothing with it: neither replicas nor who waits for them.
            if model_id not in wanted or wanted[model_id].id != self._routes[model_id].deployment.id:
                gone = self._routes.pop(model_id)
                self._set_replicas(gone, {})
                gone.queue.close()
        for model_id, deployment in wanted.items():
            route = self._routes.setdefault(model_id, Route(deployment, RequestQueue(self._rules)))
            route.deployment = deployment
            self._set_replicas(route, replicas[deployment.id])
            if not route.queue.replica_ids and not deployment.may_become_ready:
                route.queue.reject_all()  # a crash is waited for; a model that was stopped, or given up, is not

    def _set_replicas(self, route: Route, replicas: Mapping[str, Replica]) -> None:
        if route.queue.replica_ids == replicas.keys():
            return
        for gone in route.clients.keys() - replicas.keys():
            self._close_later(route.clients.pop(gone))
        for new in replicas.keys() - route.clients.keys():
            replica = replicas[new]
            route.clients[new] = ReplicaClient(replica.address, partial(self._headers, replica))
            if replica.ready_at is not None:
                route.start_seconds = (replica.ready_at - replica.created_at).total_seconds()
        route.queue.set_replicas(set(replicas))

    def _close_later(self, client: ReplicaClient) -> None:
        """When its calls in flight are answered: closing a session breaks them."""
        task = asyncio.create_task(client.close_when_idle())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes every connection."""
        for route in self._routes.values():
            for client in route.clients.values():
                await client.close()
        self._routes.clear()
        for task in list(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
