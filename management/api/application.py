"""The API as a FastAPI application, and as a section of a server's paths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from management.api import PREFIX
from management.api.deployment_routes import DeploymentRoutes
from management.api.documentation.openapi import DocumentedAPI, read_by_all
from management.api.errors import ApiErrorFormatter, install_error_handlers
from management.api.idempotency import Idempotency
from management.api.inference_routes import InferenceRoutes
from management.api.parsing import StrictRoute
from management.api.view_routes import ViewRoutes
from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache, role_for_api
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.domain.records import LONGEST_TIMEOUT, Deployment, Replica
from management.gateway.gateway import Gateway
from management.metrics import Metrics
from management.settings import ApiSettings
from management.store import Store
from web.documentation import documentation_page
from web.edge.middleware import Limits, Section

MIB: Final = 1024 * 1024
CONTROL_BYTES: Final = MIB
"""Longest body in bytes, except for inference."""
INFERENCE_BYTES: Final = 24 * MIB
"""Longest body of one inference in bytes."""
BATCH_BYTES: Final = 64 * MIB
"""Longest body of a batch in bytes."""
BODY_SECONDS: Final = 60.0
"""Seconds for a body to arrive."""
REQUEST_MARGIN_SECONDS: Final = 30.0
"""Seconds of a request beyond a caller's longest wait, so that the API's own deadlines pass first."""
OPEN: Final = frozenset({f"{PREFIX}/{path}" for path in ("health", "docs", "openapi.json")})
"""Paths that need no key."""


class Parts(Protocol):
    """The parts of the management that the API uses."""

    @property
    def api_settings(self) -> ApiSettings:
        """The settings of the API."""

    @property
    def store(self) -> Store:
        """The database."""

    @property
    def commands(self) -> DeploymentCommands:
        """The commands that change the desired state."""

    @property
    def deployments(self) -> Deployments:
        """The checks of images, the commits of changes, and their outcomes."""

    @property
    def gateway(self) -> Gateway:
        """The gateway, which calls the models."""

    @property
    def metrics(self) -> Metrics:
        """The metrics for Prometheus."""

    @property
    def keyring(self) -> KeyCache:
        """The cache of the API keys."""

    @property
    def failures(self) -> FailedLoginLimiter:
        """The limiter of failed logins, by address."""

    async def start(self) -> None:
        """Start managing the models."""

    async def close(self) -> None:
        """Stop everything that ``start`` started."""

    async def health(self) -> dict[str, Any]:
        """The management's health."""

    async def logs(self, deployment: Deployment, replicas: list[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines of each replica's log, by the replica's id."""


def section(parts: Parts, *, beside_models: bool) -> Section:
    """The API as a section of a server's paths; ``beside_models`` says whether the server also serves models itself."""
    authenticator = Authenticator(parts.keyring, parts.failures, role_for_api(OPEN, f"{PREFIX}/static/"))

    def count(scope: Scope, status: int, seconds: float) -> None:
        parts.metrics.requests.count(scope, status, seconds)

    formatter = ApiErrorFormatter(lambda: parts.api_settings.language)
    api = application(parts, beside_models=beside_models)
    return Section(PREFIX, api, _limits, formatter, authenticator, count)


def application(parts: Parts, *, beside_models: bool) -> FastAPI:
    """The API's routes. The lifespan starts and closes the management; no route uses a part before that."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.language = parts.api_settings.language
        app.state.allowed_environment = parts.api_settings.allowed_environment
        await parts.start()
        parts.metrics.requests.know(router.routes)
        try:
            yield
        finally:
            await parts.close()

    app = DocumentedAPI(
        title="Atelier: model management",
        description="Deploy, call, scale, update and delete models.",
        version="1",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        openapi_url=f"{PREFIX}/openapi.json",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    install_error_handlers(app)
    router = _router(parts)
    app.include_router(router)
    _add_documentation(app, beside_models=beside_models)
    return app


def _router(parts: Parts) -> APIRouter:
    router = APIRouter(prefix=PREFIX, route_class=StrictRoute, dependencies=[Depends(read_by_all)])
    idempotency = Idempotency(parts.store, parts.deployments)
    DeploymentRoutes(parts.commands, parts.deployments, idempotency).add_to(router)
    ViewRoutes(parts.store, parts.logs, parts.health, parts.metrics, parts.api_settings.public_url).add_to(router)
    InferenceRoutes(parts.gateway).add_to(router)
    return router


def _add_documentation(app: FastAPI, *, beside_models: bool) -> None:
    """Add Swagger UI from BentoML's files, so that nothing comes from the internet."""
    spec = find_spec("bentoml")
    if spec is None or not spec.submodule_search_locations:
        return
    files = Path(spec.submodule_search_locations[0]) / "_internal" / "server" / "static_content"
    app.mount(f"{PREFIX}/static", StaticFiles(directory=files, check_dir=False))

    @app.get(f"{PREFIX}/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return documentation_page(
            app.title,
            f"{PREFIX}/openapi.json",
            f"{PREFIX}/static",
            links={"Models of this server": "/docs"} if beside_models else {},
            models_url=f"{PREFIX}/models",
        )


def _limits(path: str) -> Limits:
    """Limits of a path: bodies of inference can contain pictures, all others are small."""
    size = {"inference": INFERENCE_BYTES, "batch_inference": BATCH_BYTES}.get(path.rsplit("/", 1)[-1], CONTROL_BYTES)
    return Limits(body_bytes=size, request_seconds=LONGEST_TIMEOUT + REQUEST_MARGIN_SECONDS, body_seconds=BODY_SECONDS)
