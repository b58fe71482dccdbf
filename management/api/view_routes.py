"""Routes that read: the list of models, a model's status, logs and events, health and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from management.api import PREFIX, schemas, views
from management.api.documentation import examples, openapi
from management.api.documentation import responses as documented
from management.api.parsing import language, model_id_of, query
from management.domain.records import Deployment, Replica
from management.errors import ModelNotFound
from management.metrics import CONTENT_TYPE, Metrics
from management.store import Session, Store
from web.answers import JSONAnswer

ReadLogs = Callable[[Deployment, list[Replica], int], Awaitable[dict[str, list[str]]]]
"""The last lines of each replica's log, by the replica's id."""
Health = Callable[[], Awaitable[dict[str, Any]]]
"""The body of the health answer."""


class ViewRoutes:
    """Each handler reads the store at most once and answers with the result."""

    def __init__(self, store: Store, logs: ReadLogs, health: Health, metrics: Metrics, public_url: str) -> None:
        self._store, self._logs, self._health, self._metrics = store, logs, health, metrics
        self._url = public_url.rstrip("/") + PREFIX

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.add_api_route(
            "/models",
            self.models,
            methods=["GET"],
            **openapi.view(
                "list_models", "List models", list[documented.ListedModel], examples.LISTED, schemas.ListQuery
            ),
        )
        router.add_api_route(
            "/models/{model_id}/status",
            self.status,
            methods=["GET"],
            **openapi.view("model_status", "A model's status", documented.StatusAnswer, examples.STATUS),
        )
        router.add_api_route("/health", self.health, methods=["GET"], **openapi.health("health"))
        router.add_api_route(
            "/models/{model_id}/logs",
            self.logs,
            methods=["GET"],
            **openapi.view(
                "model_logs",
                "The last lines of a model's logs",
                documented.LogsAnswer,
                examples.LOGS,
                schemas.LogsQuery,
            ),
        )
        router.add_api_route(
            "/models/{model_id}/events",
            self.events,
            methods=["GET"],
            **openapi.view(
                "model_events", "Who changed what", list[documented.ShownEvent], examples.EVENTS, schemas.EventsQuery
            ),
        )
        router.add_api_route("/metrics", self.metrics, methods=["GET"], **openapi.metrics("metrics"))

    async def models(self, request: Request) -> JSONAnswer:
        """A page of the models, with links to its neighbours."""
        given = query(request, schemas.ListQuery)

        def read(session: Session) -> tuple[list[dict[str, Any]], int]:
            page = session.deployments.page(**given.model_dump())
            replicas = _by_deployment(session.replicas.of(deployment.id for deployment in page.items))
            return [views.listed(deployment, replicas.get(deployment.id, [])) for deployment in page.items], page.total

        listed, total = await self._store.read(read)
        return JSONAnswer(listed, headers={"X-Total-Count": str(total), **_links(request, given, total)})

    async def status(self, request: Request) -> JSONAnswer:
        """Everything known about one model."""
        deployment, replicas = await self._deployment(request)
        return JSONAnswer(views.status(deployment, replicas, self._url, language(request)))

    async def health(self) -> JSONAnswer:
        """The management's health, with status 503 where it is unhealthy."""
        health = await self._health()
        return JSONAnswer(health, status_code=503 if health["status"] == "unhealthy" else 200)

    async def logs(self, request: Request) -> JSONAnswer:
        """The last lines of each replica's log."""
        tail = query(request, schemas.LogsQuery).tail
        deployment, replicas = await self._deployment(request)
        lines = await self._logs(deployment, replicas, tail)
        parts = [
            {"replica_id": replica.id, "state": replica.state.value, "lines": lines.get(replica.id, [])}
            for replica in replicas
        ]
        return JSONAnswer({"model_id": deployment.model_id, "replicas": parts})

    async def events(self, request: Request) -> JSONAnswer:
        """Who changed what, the newest first. Events outlive their model."""
        model_id = model_id_of(request)
        limit = query(request, schemas.EventsQuery).limit
        events = await self._store.read(lambda session: session.events.of(model_id, limit))
        if not events:
            raise ModelNotFound({"model_id": model_id})
        return JSONAnswer([views.event(event) for event in events])

    async def metrics(self) -> Response:
        """The management's metrics for Prometheus."""
        return Response(await self._metrics.text(), media_type=CONTENT_TYPE)

    async def _deployment(self, request: Request) -> tuple[Deployment, list[Replica]]:
        """The path's deployment and its replicas. Raises ModelNotFound."""
        model_id = model_id_of(request)

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


def _links(request: Request, given: schemas.ListQuery, total: int) -> dict[str, str]:
    """Links to the next and previous page (RFC 8288), relative, so that the Host header has no effect on them."""
    filters = "".join(
        f"&{name}={value}" for name in ("status", "model_type") if (value := request.query_params.get(name)) is not None
    )
    steps = {
        "next": given.offset + given.limit if given.offset + given.limit < total else None,
        "prev": max(0, given.offset - given.limit) if given.offset > 0 else None,
    }
    links = [
        f'<{PREFIX}/models?limit={given.limit}&offset={offset}{filters}>; rel="{name}"'
        for name, offset in steps.items()
        if offset is not None
    ]
    return {"Link": ", ".join(links)} if links else {}
