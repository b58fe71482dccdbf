"""The API as a FastAPI application, and as a section of a server's paths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from management.api import PREFIX
from management.api.documentation.openapi import DocumentedAPI, read_by_all
from management.api.errors import install_error_handlers
from management.api.idempotency import Idempotency
from management.api.parsing import StrictRoute
from management.api.routes.bentos import BentoRoutes
from management.api.routes.deployments import DeploymentRoutes
from management.api.routes.environment import EnvironmentRoutes
from management.api.routes.inference import InferenceRoutes
from management.api.routes.secrets import SecretRoutes
from management.api.routes.views import ModelFacts, ViewRoutes
from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache, role_for_api
from management.backends.preparation import EnvironmentPreparer
from management.control.bentos import Bentos
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.control.secrets import Secrets
from management.domain.records import LONGEST_TIMEOUT, Deployment, Replica
from management.inference.inference import Inference
from management.metrics import Metrics
from management.settings import ApiSettings
from management.store import Store
from management.wording.errors import ApiErrorFormatter
from web.documentation import documentation_page, static_folder
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
UPLOADS: Final = f"{PREFIX}/bentos"
"""Path that archives are sent to."""
UNPACKING_SECONDS: Final = 3600.0
"""Seconds for an archive to be unpacked, once it has arrived."""
REQUEST_MARGIN_SECONDS: Final = 30.0
"""Seconds of a request beyond a caller's longest wait, so that the API's own deadlines pass first."""
OPEN: Final = frozenset({f"{PREFIX}/{path}" for path in ("health", "docs", "openapi.json")})
"""Paths that need no key."""

SECRETS: Final = f"{PREFIX}/secrets"
"""Path of the secrets, whose names are shown to admins alone."""


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
    def inference(self) -> Inference:
        """What calls the models with the documented bodies."""

    @property
    def bentos(self) -> Bentos:
        """The Bentos in this machine's store."""

    @property
    def upload_bytes(self) -> int:
        """Bytes of the largest archive of a Bento."""

    @property
    def secrets(self) -> Secrets:
        """The secrets, and the key file that opens them."""

    @property
    def environments(self) -> EnvironmentPreparer:
        """What prepares the environments of replicas."""

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
    authenticator = Authenticator(parts.keyring, parts.failures, role_for_api(OPEN, f"{PREFIX}/static/", SECRETS))

    def count(scope: Scope, status: int, seconds: float) -> None:
        parts.metrics.requests.count(scope, status, seconds)

    formatter = ApiErrorFormatter(lambda: parts.api_settings.language)
    api = application(parts, beside_models=beside_models)

    def limits(path: str) -> Limits:
        return _upload_limits(parts.upload_bytes) if path == UPLOADS else _limits(path)

    return Section(PREFIX, api, limits, formatter, authenticator, count)


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
    DeploymentRoutes(parts.commands, parts.deployments, parts.secrets, idempotency).add_to(router)
    url = parts.api_settings.public_url
    known = ModelFacts(parts.deployments.bento, parts.environments.look)
    ViewRoutes(parts.store, parts.logs, parts.health, parts.metrics, known, url).add_to(router)
    EnvironmentRoutes(parts.store, parts.environments).add_to(router)
    BentoRoutes(parts.bentos).add_to(router)
    InferenceRoutes(parts.inference).add_to(router)
    SecretRoutes(parts.secrets).add_to(router)
    return router


def _add_documentation(app: FastAPI, *, beside_models: bool) -> None:
    """Add Swagger UI from BentoML's files, so that nothing comes from the internet."""
    if (files := static_folder()) is None:
        return
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


def _upload_limits(size: int) -> Limits:
    """Limits of uploads, which go to the disk piece by piece and may take any time while they go on."""
    return Limits(body_bytes=size, request_seconds=UNPACKING_SECONDS, body_seconds=BODY_SECONDS, streams=True)
