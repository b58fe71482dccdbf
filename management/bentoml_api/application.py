"""The calls of BentoML's client as a section of a server's paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache
from management.auth.browser_login import BrowserLogin
from management.backends.preparation import EnvironmentPreparer
from management.bentoml_api import PREFIX, errors
from management.bentoml_api.catalog import Catalog
from management.bentoml_api.configs import Translator
from management.bentoml_api.deployments_v1.routes import CloudDeploymentV1Routes
from management.bentoml_api.instances.instance_types import LocalInstanceType
from management.bentoml_api.log_stream import LogStream, ReadLogs
from management.bentoml_api.recognition import UPLOADS, base_of, role_for_client
from management.bentoml_api.routes.codespaces import FILES, CodespaceRoutes
from management.bentoml_api.routes.deployments import CloudDeploymentRoutes
from management.bentoml_api.routes.identity import IdentityRoutes
from management.bentoml_api.routes.login import LoginRoutes
from management.bentoml_api.routes.pods import PodRoutes
from management.bentoml_api.routes.repositories import RepositoryRoutes
from management.bentoml_api.routes.secrets import CloudSecretRoutes
from management.bentoml_api.routes.tokens import TokenRoutes
from management.bentoml_api.routes.transfers import TransferRoutes
from management.bentoml_api.stock import Stock
from management.bentoml_api.unkept import UnkeptAnswers
from management.control.api_keys import ApiKeys
from management.control.bentos import Bentos
from management.control.codespaces.codespaces import Codespaces
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.control.repository.sending import DownloadPlaces
from management.control.repository.stored_models import StoredModels
from management.control.repository.uploads import Uploads
from management.control.secrets import Secrets
from management.domain.bento_tag import StoredKind
from management.errors import ManagementError
from management.metrics import Metrics
from management.settings import ApiSettings
from management.store import Store
from web.edge import lifespan
from web.edge.sections import Limits, Section

MIB: Final = 1024 * 1024
CONTROL_BYTES: Final = 4 * MIB
"""Bytes of the longest body but for uploads: a manifest has the schemas of all APIs of a Bento."""
SOURCE_BYTES: Final = 128 * MIB
"""Bytes of the longest body with files of a codespace: the client sends files of 64 MiB in base64 at a time, and the
last of them may be larger than that."""
SOURCE_SECONDS: Final = 600.0
"""Seconds to the answer to such a body, as the client waits."""
BODY_SECONDS: Final = 60.0
"""Seconds for a body to arrive; between two pieces of an upload."""
REQUEST_SECONDS: Final = 60.0
"""Seconds to an answer: the client itself waits no longer."""
UNPACKING_SECONDS: Final = 3600.0
"""Seconds for an archive to be unpacked, once it has arrived."""


class CloudParts(Protocol):
    """The parts of the management that the section uses."""

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
    def bentos(self) -> Bentos:
        """The Bentos in this machine's store."""

    @property
    def stored_models(self) -> StoredModels:
        """The models in this machine's store."""

    @property
    def uploads(self) -> Uploads:
        """What is announced and uploaded in parts."""

    @property
    def codespaces(self) -> Codespaces:
        """The services that are edited while they run."""

    @property
    def download_places(self) -> DownloadPlaces:
        """The downloads that may be under way at a time."""

    @property
    def upload_bytes(self) -> int:
        """Bytes of the largest archive of a Bento."""

    @property
    def instance_types(self) -> Sequence[LocalInstanceType]:
        """The instance types that a deployment may name."""

    @property
    def secrets(self) -> Secrets:
        """The secrets, and the key file that opens them."""

    @property
    def environments(self) -> EnvironmentPreparer:
        """What prepares the environments of replicas."""

    @property
    def keys(self) -> ApiKeys:
        """The API keys as commands."""

    @property
    def browser_login(self) -> BrowserLogin:
        """The logins of command lines by a browser."""

    @property
    def metrics(self) -> Metrics:
        """The metrics for Prometheus."""

    @property
    def keyring(self) -> KeyCache:
        """The cache of the API keys."""

    @property
    def failures(self) -> FailedLoginLimiter:
        """The limiter of failed logins, by address."""

    @property
    def logs(self) -> ReadLogs:
        """The last lines of each replica's log, by the replica's id."""


def section(parts: CloudParts) -> Section:
    """Return the section of BentoML's client. It is not the first one: hosts of models come before it."""
    control = Limits(CONTROL_BYTES, REQUEST_SECONDS, BODY_SECONDS)
    sources = Limits(SOURCE_BYTES, SOURCE_SECONDS, BODY_SECONDS)
    upload = Limits(parts.upload_bytes, UNPACKING_SECONDS, BODY_SECONDS, streams=True)

    def limits(path: str) -> Limits:
        inner = path.removeprefix(PREFIX)
        is_slow = inner.endswith("/complete_multipart_upload")
        if inner.endswith(FILES):
            return sources
        if inner == UPLOADS or inner.endswith("/upload"):
            return upload
        return Limits(CONTROL_BYTES, UNPACKING_SECONDS, BODY_SECONDS) if is_slow else control

    def count(scope: Scope, status: int, seconds: float) -> None:
        parts.metrics.requests.count_as(PREFIX, scope["method"], status, seconds)

    authenticator = Authenticator(parts.keyring, parts.failures, role_for_client)
    formatter = errors.ClientErrorFormatter()
    return Section(PREFIX, _Lazy(parts), limits, formatter, authenticator, count, websockets=True, base_of=base_of)


class _Lazy:
    """The application, which is made with the first request: making it reads the settings."""

    def __init__(self, parts: CloudParts) -> None:
        self._parts = parts
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a websocket."""
        if scope["type"] == "lifespan":
            await lifespan.acknowledge(receive, send)
            return
        if self._app is None:
            self._app = UnkeptAnswers(application(self._parts))
        await self._app(scope, receive, send)


def application(parts: CloudParts) -> Starlette:
    """Return the routes; they use no part before the first request."""
    handlers = {
        ManagementError: errors.answer_error,
        HTTPException: errors.answer_http,
        Exception: errors.answer_failure,
    }
    return Starlette(routes=[Mount(PREFIX, routes=_routes(parts))], exception_handlers=handlers)


def _routes(parts: CloudParts) -> list[BaseRoute]:
    types = parts.instance_types
    stock, places = Stock(parts.bentos, parts.stored_models, parts.uploads), parts.download_places
    catalog = Catalog(parts.store, parts.bentos, stock, parts.environments, parts.codespaces, types)
    allowed = parts.api_settings.allowed_environment
    translator = Translator(types, allowed)
    of_deployments = (catalog, parts.commands, parts.deployments, parts.secrets, translator, parts.codespaces)
    return [
        *IdentityRoutes(types).routes(),
        *LoginRoutes(parts.browser_login, parts.keyring, parts.keys, parts.failures).routes(),
        *RepositoryRoutes(StoredKind.BENTO, stock, parts.uploads, places).routes(),
        *RepositoryRoutes(StoredKind.MODEL, stock, parts.uploads, places).routes(),
        *TransferRoutes(stock, parts.uploads, places).routes(),
        *CloudDeploymentV1Routes(*of_deployments).routes(),
        *CloudDeploymentRoutes(*of_deployments).routes(),
        *CodespaceRoutes(catalog, parts.codespaces, parts.commands, parts.deployments).routes(),
        *CloudSecretRoutes(parts.secrets, allowed).routes(),
        *TokenRoutes(parts.keys).routes(),
        *PodRoutes(catalog, LogStream(catalog, parts.logs, parts.environments), parts.keyring).routes(),
    ]
