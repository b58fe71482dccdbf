"""The models as the gateway knows them, in memory: a queue for each, and connections to its replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf
from typing import Final

from management.backends.launcher import Headers, no_headers
from management.counters import ModelCounters
from management.domain.bento import Bento
from management.domain.records import Deployment, Replica, Revision
from management.errors import ModelGaveUp, ModelNotReady, ModelStopped
from management.gateway.queue import QueueLimits, RequestQueue
from management.gateway.replica_client import ReplicaClient

UNMEASURED_START_SECONDS: Final = 5.0
"""Seconds a model's start is assumed to take until one is measured."""
DESCRIBE_PAUSE_SECONDS: Final = 5.0
"""Seconds until a Bento is asked for again that could not be read."""
LONGEST_RETRY_SECONDS: Final = 60
"""Longest ``Retry-After``, in seconds."""


@dataclass
class Route:
    """The way to one deployment's replicas."""

    deployment: Deployment
    queue: RequestQueue
    clients: dict[str, ReplicaClient] = field(default_factory=dict)
    start_seconds: float = UNMEASURED_START_SECONDS
    """Seconds the last replica took to become ready."""
    last_request_at: float = 0.0
    """Unix time of the last request."""
    counters: ModelCounters = field(default_factory=ModelCounters)
    """Dropped with the deployment, as its metrics' series are."""
    revisions: dict[str, Revision] = field(default_factory=dict)
    """The revision of each ready replica, by its id."""
    bento: Bento | None = None
    """What the model serves, by the files of its Bento; None where they are not known."""
    described_image: str = ""
    """The image that ``bento`` was read from; empty before it was read."""
    describe_at: float = 0.0
    """Second of a monotonic clock from which the Bento is read again."""

    @property
    def model_id(self) -> str:
        """The id that callers use."""
        return self.deployment.model_id

    @property
    def serving(self) -> Revision:
        """The revision that calls are meant for: the target, unless only replicas of earlier ones are ready."""
        target = self.deployment.target
        ready = {revision.number: revision for revision in self.revisions.values()}
        return target if not ready or target.number in ready else ready[max(ready)]

    def is_described(self, now: float) -> bool:
        """Whether ``bento`` is that of the serving revision, as far as it was to be had."""
        return self.described_image == self.serving.config.docker_image and now < self.describe_at

    def describe(self, image: str, bento: Bento | None, now: float) -> None:
        """Keeps what the model serves, and lets each replica take as many requests at a time as the Bento allows.

        A Bento that could not be read is read again after a while; until then, what its image held before counts.
        """
        if bento is not None or self.described_image != image:
            self.bento = bento
        self.described_image = image
        self.describe_at = inf if bento is not None else now + DESCRIBE_PAUSE_SECONDS
        self.queue.set_concurrency(None if self.bento is None else self.bento.traffic.concurrency)

    def not_ready(self) -> ModelNotReady:
        """The error while nothing is ready; with ``Retry-After`` only where time alone helps."""
        details = {"model_id": self.model_id}
        if self.deployment.failed:
            return ModelGaveUp(details)
        if self.deployment.replicas == 0 and not self.deployment.scaled_to_zero:
            return ModelStopped(details)
        return ModelNotReady(details, retry_after=max(1, min(LONGEST_RETRY_SECONDS, ceil(self.start_seconds))))


class RouteTable:
    """The routes of all models, by id."""

    def __init__(self, limits: QueueLimits, headers: Headers = no_headers) -> None:
        """``headers`` are the HTTP headers that a replica needs with each request."""
        self._limits, self._headers = limits, headers
        self._routes: dict[str, Route] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, model_id: str) -> Route | None:
        """The route to that model; None for one that is not known."""
        return self._routes.get(model_id)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def learn(self, deployments: Iterable[Deployment], ready: Iterable[Replica]) -> None:
        """Replaces the known models and their ready replicas, which are all that requests are sent to."""
        desired = {deployment.model_id: deployment for deployment in deployments if not deployment.deletion}
        replicas: dict[str, dict[str, Replica]] = {deployment.id: {} for deployment in desired.values()}
        for replica in ready:
            if replica.deployment_id in replicas:
                replicas[replica.deployment_id][replica.id] = replica
        for model_id in list(self._routes):
            # A new deployment under an old name shares neither the replicas nor the waiting requests of the old one.
            if model_id not in desired or desired[model_id].id != self._routes[model_id].deployment.id:
                gone = self._routes.pop(model_id)
                self._set_replicas(gone, {})
                gone.queue.close()
        for model_id, deployment in desired.items():
            route = self._routes.setdefault(model_id, Route(deployment, RequestQueue(self._limits)))
            route.deployment = deployment
            self._set_replicas(route, replicas[deployment.id])
            if not route.queue.replica_ids and not deployment.may_become_ready:
                route.queue.reject_all()  # requests wait out a crash, but not a stopped or failed model

    def _set_replicas(self, route: Route, replicas: Mapping[str, Replica]) -> None:
        if route.queue.replica_ids == replicas.keys():
            return
        for replica_id in route.clients.keys() - replicas.keys():
            self._close_when_idle(route.clients.pop(replica_id))
            del route.revisions[replica_id]
        for replica_id in replicas.keys() - route.clients.keys():
            replica = replicas[replica_id]
            route.clients[replica_id] = ReplicaClient(
                replica.address, partial(self._headers, replica), revision=replica.revision.number
            )
            route.revisions[replica_id] = replica.revision
            route.describe_at = 0.0  # a Bento may have been built again under its tag
            if replica.ready_at is not None:
                route.start_seconds = (replica.ready_at - replica.created_at).total_seconds()
        route.queue.set_replicas(set(replicas))

    def _close_when_idle(self, client: ReplicaClient) -> None:
        """Closes the client when its calls in flight are answered: closing a session breaks them."""
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
