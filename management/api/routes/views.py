"""Routes that read: the list of models, a model's status, logs and events, health and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from management.api import schemas, views
from management.api.documentation import openapi
from management.api.documentation.responses import (
    HealthAnswer,
    LogsAnswer,
    ShownEvent,
    UnhealthyAnswer,
)
from management.api.documentation.status import ListedModel, StatusAnswer
from management.api.pages import page_headers
from management.api.parsing import PathModelId, language
from management.backends.preparation import Preparation
from management.domain.bento import Bento
from management.domain.records import Deployment, Replica
from management.errors import ModelNotFound
from management.metrics import CONTENT_TYPE, Metrics
from management.store import Session, Store
from web.answers import JSONAnswer, large_answer

ReadLogs = Callable[[Deployment, list[Replica], int], Awaitable[dict[str, list[str]]]]
"""The last lines of each replica's log, by the replica's id."""
ReadBento = Callable[[str], Awaitable[Bento | None]]
"""The Bento in an image; None where its files are not known now."""
LookAtEnvironment = Callable[[str], Awaitable[Preparation | None]]
"""The preparation of an image's environment."""
Health = Callable[[], Awaitable[dict[str, Any]]]
"""The body of the health answer."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of an image beside the records."""

    bento: ReadBento
    environment: LookAtEnvironment


class ViewRoutes:
    """Each handler reads the store at most once and answers with the result."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it shows
        self, store: Store, logs: ReadLogs, health: Health, metrics: Metrics, facts: ModelFacts, public_url: str
    ) -> None:
        self._store, self._logs, self._health, self._metrics = store, logs, health, metrics
        self._facts, self._url = facts, public_url

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.get("/models", **openapi.listing(list[ListedModel]))(self.list_models)
        router.get("/models/{model_id}/status", **openapi.view(StatusAnswer))(self.model_status)
        router.get("/health", **openapi.health(HealthAnswer, UnhealthyAnswer))(self.health)
        router.get("/models/{model_id}/logs", **openapi.view(LogsAnswer))(self.model_logs)
        router.get("/models/{model_id}/events", **openapi.view(list[ShownEvent]))(self.model_events)
        router.get("/metrics", **openapi.metrics())(self.metrics)

    async def list_models(self, request: Request, given: Annotated[schemas.ListQuery, Query()]) -> JSONAnswer:
        """A page of the models, with links to its neighbours."""

        def read(session: Session) -> tuple[list[dict[str, Any]], int]:
            page = session.deployments.page(**given.model_dump())
            replicas = _by_deployment(session.replicas.of(deployment.id for deployment in page.items))
            return [views.listed(deployment, replicas.get(deployment.id, [])) for deployment in page.items], page.total

        listed, total = await self._store.read(read)
        headers = page_headers(request, "models", given, total)
        return JSONAnswer(listed, headers=headers)

    async def model_status(self, request: Request, model_id: PathModelId) -> Response:
        """Everything known about one model."""
        deployment, replicas = await self._deployment(model_id)
        image = deployment.target.config.docker_image
        bento, preparation = await self._facts.bento(image), await self._facts.environment(image)
        shown = views.ShownModel(deployment, replicas, bento, preparation)
        return await large_answer(views.status(shown, self._url, language(request)))

    async def health(self) -> JSONAnswer:
        """Database, lease, backend, and how many of the wanted models are ready, answered with 503 where unhealthy."""
        health = await self._health()
        return JSONAnswer(health, status_code=503 if health["status"] == "unhealthy" else 200)

    async def model_logs(self, model_id: PathModelId, given: Annotated[schemas.LogsQuery, Query()]) -> JSONAnswer:
        """The last lines of each replica's log."""
        deployment, replicas = await self._deployment(model_id)
        lines = await self._logs(deployment, replicas, given.tail)
        parts = [
            {"replica_id": replica.id, "state": replica.state.value, "lines": lines.get(replica.id, [])}
            for replica in replicas
        ]
        return JSONAnswer({"model_id": deployment.model_id, "replicas": parts})

    async def model_events(self, model_id: PathModelId, given: Annotated[schemas.EventsQuery, Query()]) -> JSONAnswer:
        """Who changed what, the newest first. Events outlive their model."""
        events = await self._store.read(lambda session: session.events.of(model_id, given.limit))
        if not events:
            raise ModelNotFound({"model_id": model_id})
        return JSONAnswer([views.event(event) for event in events])

    async def metrics(self) -> Response:
        """Requests, queues, replicas and rejections, for Prometheus."""
        return Response(await self._metrics.text(), media_type=CONTENT_TYPE)

    async def _deployment(self, model_id: str) -> tuple[Deployment, list[Replica]]:
        """The model's deployment and its replicas. Raises ModelNotFound."""

        def read(session: Session) -> tuple[Deployment, list[Replica]]:
            deployment = session.deployments.get(model_id)
            if deployment is None:
                raise ModelNotFound({"model_id": model_id})
            return deployment, session.replicas.of([deployment.id])

        return await self._store.read(read)


def _by_deployment(replicas: Sequence[Replica]) -> dict[str, list[Replica]]:
    grouped: dict[str, list[Replica]] = {}
    for replica in replicas:
        grouped.setdefault(replica.deployment_id, []).append(replica)
    return grouped
