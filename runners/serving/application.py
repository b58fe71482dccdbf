"""The HTTP application mounted beside a service's native API: routes, health, and documentation that works offline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from runners.errors import ModelUnavailable
from runners.http.openapi import ERRORS
from runners.http.responses import install_error_handlers
from runners.serving import ipc
from runners.serving.fast_path import endpoints
from runners.serving.infer_route import native_router
from runners.serving.mounted import MountedModel
from web.answers import JSONAnswer, timestamp
from web.documentation import documentation_page
from web.download.client import Downloader
from web.download.settings import settings
from web.error_shape import shape

HEALTH_SECONDS: Final = 0.8
"""Seconds within which each part must answer ``/health``."""

Info = Callable[[], Awaitable[dict[str, Any] | None]]
"""Returns the ``/health`` fields of a ready part of the server, or None if it is not ready."""
States = Mapping[str, dict[str, Any] | None]


def application(  # noqa: PLR0913
    title: str,
    description: str,
    models: Mapping[str, MountedModel],
    downloader: Downloader | None = None,
    beside: Mapping[str, Info] | None = None,
    *,
    managed_at: str | None = None,
) -> FastAPI:
    """Return the FastAPI application of these models, in this process or in others.

    Its shutdown closes the downloader. The parts ``beside`` the models must be ready, too, and appear under their names
    in ``/health``. ``managed_at`` is the path of a management API on the same server, for a link in the documentation.
    """
    downloads = downloader or Downloader(settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await downloads.close()
        await ipc.close()

    app = FastAPI(title=title, description=description, docs_url=None, redoc_url=None, lifespan=lifespan)
    install_error_handlers(app)
    routers = [model.router(model.proxy, downloads) for model in models.values()]
    routers.append(native_router(models, downloads))
    for router in routers:
        app.include_router(router)
    app.state.endpoints = endpoints(routers)
    app.include_router(_health_router(models, beside or {}))
    app.include_router(_documentation_router(title, managed_at))
    return app


def _documentation_router(title: str, managed_at: str | None) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs() -> HTMLResponse:
        # BentoML serves Swagger UI's files under /static_content: nothing is loaded from the internet.
        return documentation_page(
            title,
            "/openapi.json",
            "/static_content",
            links={} if managed_at is None else {"Model management": f"{managed_at}/docs"},
            models_url=None if managed_at is None else f"{managed_at}/models",
        )

    @router.get("/")
    def index() -> RedirectResponse:
        return RedirectResponse("/docs")

    return router


def _health_router(models: Mapping[str, MountedModel], beside: Mapping[str, Info]) -> APIRouter:
    router = APIRouter(tags=["health"])
    healthy = {"status": "healthy", "model_loaded": True, "timestamp": "2026-01-01T12:00:00.000Z"}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {"example": healthy}}},
        503: ERRORS[503],
    }

    @router.get("/health", summary="Is every model loaded and answering?", responses=responses)
    async def health() -> JSONAnswer:
        parts = [model.proxy.info for model in models.values()] + list(beside.values())
        answers = await asyncio.gather(*map(_answers_soon, parts))
        model_states, part_states = answers[: len(models)], answers[len(models) :]
        health = _health(dict(zip(models, model_states, strict=True)), dict(zip(beside, part_states, strict=True)))
        return JSONAnswer(health, status_code=503 if None in answers else 200)

    return router


def _health(states: States, beside: States) -> dict[str, Any]:
    """Return the ``/health`` body from the fields of each model and each part beside them; None means down."""
    down = [name for name, fields in (*states.items(), *beside.items()) if fields is None]
    answer: dict[str, Any] = {
        "status": "unhealthy" if down else "healthy",
        "model_loaded": None not in states.values(),
        "timestamp": timestamp(),
    }
    if len(states) > 1:
        answer["models"] = {name: fields is not None for name, fields in states.items()}
        answer |= {name: fields for name, fields in states.items() if fields}
    else:
        answer |= {key: value for fields in states.values() if fields for key, value in fields.items()}
    answer |= {name: fields for name, fields in beside.items() if fields is not None}
    return {**answer, **shape(f"not ready: {', '.join(down)}", ModelUnavailable.code)} if down else answer


async def _answers_soon(info: Info) -> dict[str, Any] | None:
    # BentoML's own readiness check waits its whole traffic timeout for a frozen model, and may raise any exception.
    try:
        return await asyncio.wait_for(info(), HEALTH_SECONDS)
    except Exception:  # any failure means that the part does not answer
        return None
