"""The common base of all BentoML services of the project: configuration and outermost layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any, Final

from _bentoml_sdk import Service  # its public alias is typed as a decorator only
from fastapi import FastAPI
from starlette.types import ASGIApp, Scope

from machine.devices import cores, gpus
from runners import registry
from runners.registry import BODY_BYTES, LIST_BYTES, MODELS, Model
from runners.serving import metrics
from runners.serving.application import application
from runners.serving.fast_path import Direct, Endpoints
from runners.serving.infer_route import CHECKED_INFER, INFER
from runners.serving.ipc import PREFIX, IpcEndpoint
from runners.serving.key_guard import key_guard
from runners.serving.proxies import ASK, INFO
from runners.settings import settings
from web.edge.known_paths import KnownPaths
from web.edge.middleware import Authenticate, Edge, Limits, Section, configure_access_log
from web.server.uvicorn_protocol import configure_connections

# No telemetry, however a service is started. BentoML accepts no other spelling of "True".
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

TRUSTED_BYTES: Final = 2 * LIST_BYTES
"""Bytes of the largest body from the front door: the downloaded list, and BentoML's overhead."""
HEADER_SECONDS: Final = 10.0
"""Seconds for a request's headers to arrive."""
PROBE_SECONDS: Final = 1.0
"""Seconds within which ``/readyz`` must answer."""
SPARE_SECONDS: Final = 10.0
"""Seconds that the outer time limit exceeds the inner one, so that the inner result can still be returned."""
DOCUMENT_TOO_LARGE: Final = "File too large (max 16MB)"
IPC_FUNCTIONS: Final = frozenset({ASK, INFO})
"""Functions of a model's service that the server's other processes may call."""


class EdgedService(Service[Any]):  # type: ignore[misc]
    """A BentoML service inside the project's outermost layer, without BentoML's metrics and timeout layers."""

    def _endpoints(self) -> Endpoints:
        """Return the endpoints of the applications mounted beside BentoML's own."""
        mounted = [app.state.endpoints for app, *_ in self.mount_apps]
        return {key: endpoint for endpoints in mounted for key, endpoint in endpoints.items()}

    def front(self) -> FastAPI | None:
        """Return the application with routes, health and documentation; a subclass may serve several models."""
        row = registry.of_service(self.name)
        if row is None:
            return None
        return application(f"Atelier: {row.title}", row.description, {row.name: row.mounted()})

    def _mount_front(self) -> None:
        """Mount the application once, only in a process that serves or describes it, because building it is slow."""
        if not self.mount_apps and (front := self.front()) is not None:
            self.mount_asgi_app(front, name="front")

    @property
    def openapi_spec(self) -> Any:
        """Return the OpenAPI document that BentoML writes into a Bento."""
        self._mount_front()
        return super().openapi_spec

    def schema(self) -> dict[str, Any]:
        """Return the schema that BentoML writes into a Bento and sends to its own clients."""
        self._mount_front()
        return super().schema()  # type: ignore[no-any-return]

    def sections(self) -> Sequence[Section]:
        """Return the sections that other applications serve beside this one; none, unless a subclass has some."""
        return ()

    def authenticator(self) -> Authenticate | None:
        """Return the authentication by ``model_key``, or None without a key. A subclass may override it."""
        key = settings().model_key
        return None if key is None else key_guard(key)

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Return the application that ``bentoml serve`` runs; a dependency of another service is not ``is_main``."""
        configure_access_log()
        configure_connections(HEADER_SECONDS, bounded=is_main)
        if is_main:
            self._mount_front()
        app = super().to_asgi(is_main=is_main)
        endpoints = self._endpoints()
        return Edge(
            Direct(app, endpoints) if is_main else IpcEndpoint(app, IPC_FUNCTIONS),
            name=self.name,
            routes=_routes_of(app, endpoints),
            limits=limits(trusted=not is_main),
            rewrites={INFER: CHECKED_INFER},
            hidden=frozenset({CHECKED_INFER}),
            trusted=not is_main,
            sections=self.sections() if is_main else (),
            authenticate=self.authenticator() if is_main else None,
            observe=partial(_observe, self.name, frozenset(endpoints)) if is_main else None,
        )


def _observe(service: str, routes: frozenset[tuple[str, str]], scope: Scope, status: int, seconds: float) -> None:
    known = (scope["method"], scope["path"]) in routes
    if known:
        metrics.request(service, scope["method"], scope["path"], status, seconds)
    else:
        metrics.request(service, metrics.OTHER_ROUTE, metrics.OTHER_ROUTE, status, seconds)


def limits(*, trusted: bool) -> Limits:
    """Return the request limits from the settings; requests of the front door are ``trusted`` and checked already."""
    routes = [route for model in MODELS for route in model.routes]
    documents = [route.path for route in routes if route.document]
    slow = (*documents, INFER, *(f"{PREFIX}{name}" for name in IPC_FUNCTIONS))
    sizes = {INFER: LIST_BYTES, **{route.path: route.body_bytes for route in routes if route.body_bytes}}
    return Limits(
        body_bytes=TRUSTED_BYTES if trusted else BODY_BYTES,
        body_bytes_of={} if trusted else sizes,
        too_large_of=dict.fromkeys(documents, DOCUMENT_TOO_LARGE),
        request_seconds=settings().request_seconds,
        request_seconds_of=dict.fromkeys(slow, _document_seconds()),
        body_seconds=settings().body_seconds,
        probe_seconds_of={"/readyz": PROBE_SECONDS},
    )


def _document_seconds() -> float:
    """Return the time limit of slow requests; the work itself ends earlier, with a better message."""
    return settings().document_seconds + SPARE_SECONDS


def _routes_of(app: Any, endpoints: Endpoints) -> Callable[[Scope], bool]:
    paths = KnownPaths(app.router.routes)

    def known(scope: Scope) -> bool:
        return (scope["method"], scope["path"]) in endpoints or paths.has(scope)

    return known


def configuration(port: int, service_class: type[EdgedService] = EdgedService) -> dict[str, Any]:
    """Return the arguments of ``@bentoml.service`` that all services share."""
    return {
        "service_class": service_class,
        "http": {"port": port},
        # The service's own deadline comes first; BentoML's would leave the work running and its slot free.
        "traffic": {"timeout": int(_document_seconds() + settings().body_seconds) + 60},
        # BentoML's client closes its session under the calls in flight after every 100 requests or 300 seconds:
        # one call in ten fails under load (bentoml issue 5540). These values disable the renewal.
        "runner_connection": {"max_requests": 1_000_000_000, "max_age": 1e9},
        # A path with %0a forges lines in BentoML's access log; the outermost layer writes its own log.
        "logging": {"access": {"enabled": False}},
    }


def model_configuration(name: str) -> dict[str, Any]:
    """Return the arguments of ``@bentoml.service`` for the model of that name."""
    row = registry.model(name)
    return {"name": row.class_name, "resources": resources(row), **configuration(row.port)}


def resources(row: Model) -> dict[str, float]:
    """Return a model's resources: a GPU if there are enough, else a fraction of one; nothing on a CPU."""
    if not gpus() or not _has_network(row):
        return {}
    models = sum(map(_has_network, MODELS))
    return {"gpu": 1 if gpus() >= models else 1 / ceil(models / gpus())}


def _has_network(row: Model) -> bool:
    return row.gpu and (not row.loads_checkpoint or settings().checkpoint is not None)


def threads() -> int:
    """Return the CPU threads of a torch model. Models that each used every core would only wait for one another.

    OpenVINO's threads sleep while they are idle, so they use every core.
    """
    return settings().threads or max(1, cores() // sum(row.gpu for row in MODELS))
