"""What every BentoML service of ours has in common: its configuration, and its outermost layer."""

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
from web.edge.middleware import Edge, Guard, Limits, Section, configure_access_log
from web.server.uvicorn_protocol import configure_connections

# Nothing is sent anywhere, however a service is started. BentoML understands no other word for yes.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

TRUSTED_BYTES: Final = 2 * LIST_BYTES  # the same list, downloaded, with what BentoML puts around it
HEADER_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 1.0
SPARE_SECONDS: Final = 10.0  # for an answer to come back in: who asks waits longer than who works
DOCUMENT_TOO_LARGE: Final = "File too large (max 16MB)"
ASKED: Final = frozenset({ASK, INFO})
"""Functions of a model's service that the server's other processes may call."""


class EdgedService(Service[Any]):  # type: ignore[misc]
    """A BentoML service inside our outermost layer, instead of behind BentoML's metrics and timeout layers."""

    def _endpoints(self) -> Endpoints:
        """Those of the applications that are mounted beside BentoML's own."""
        return {key: one for app, *_ in self.mount_apps for key, one in app.state.endpoints.items()}

    def front(self) -> FastAPI | None:
        """The routes, health and documentation beside BentoML's own; a subclass may have those of several models."""
        row = registry.of_service(self.name)
        if row is None:
            return None
        return application(f"Atelier: {row.title}", row.description, {row.name: row.mounted()})

    def _mount_front(self) -> None:
        """Once, and only in a process that serves it or describes it: each application takes a while to build."""
        if not self.mount_apps and (front := self.front()) is not None:
            self.mount_asgi_app(front, name="front")

    @property
    def openapi_spec(self) -> Any:
        """What BentoML writes into a Bento."""
        self._mount_front()
        return super().openapi_spec

    def schema(self) -> dict[str, Any]:
        """What BentoML writes into a Bento, and answers to its own clients."""
        self._mount_front()
        return super().schema()  # type: ignore[no-any-return]

    def sections(self) -> Sequence[Section]:
        """Parts of the paths that other applications serve beside this one. A subclass may have some."""
        return ()

    def guard(self) -> Guard | None:
        """Who may call the service: everybody, unless the settings name a key. A subclass may decide otherwise."""
        key = settings().model_key
        return None if key is None else key_guard(key)

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application that ``bentoml serve`` runs; a service that another one depends on is not ``is_main``."""
        configure_access_log()
        configure_connections(HEADER_SECONDS, bounded=is_main)
        if is_main:
            self._mount_front()
        app = super().to_asgi(is_main=is_main)
        endpoints = self._endpoints()
        return Edge(
            Direct(app, endpoints) if is_main else IpcEndpoint(app, ASKED),
            name=self.name,
            routes=_routes_of(app, endpoints),
            limits=limits(trusted=not is_main),
            rewrites={INFER: CHECKED_INFER},
            hidden=frozenset({CHECKED_INFER}),
            trusted=not is_main,
            sections=self.sections() if is_main else (),
            guard=self.guard() if is_main else None,
            observe=partial(_observe, self.name, frozenset(endpoints)) if is_main else None,
        )


def _observe(service: str, routes: frozenset[tuple[str, str]], scope: Scope, status: int, seconds: float) -> None:
    known = (scope["method"], scope["path"]) in routes
    if known:
        metrics.request(service, scope["method"], scope["path"], status, seconds)
    else:
        metrics.request(service, metrics.OTHER, metrics.OTHER, status, seconds)


def limits(*, trusted: bool) -> Limits:
    """How much and how long a caller may ask, from the settings; a batch from our own front door has been counted."""
    routes = [route for model in MODELS for route in model.routes]
    documents = [route.path for route in routes if route.document]
    slow = (*documents, INFER, *(f"{PREFIX}{name}" for name in ASKED))
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
    """What is slow ends by itself before this, and says so better."""
    return settings().document_seconds + SPARE_SECONDS


def _routes_of(app: Any, endpoints: Endpoints) -> Callable[[Scope], bool]:
    paths = KnownPaths(app.router.routes)

    def known(scope: Scope) -> bool:
        return (scope["method"], scope["path"]) in endpoints or paths.has(scope)

    return known


def configuration(port: int, service_class: type[EdgedService] = EdgedService) -> dict[str, Any]:
    """The arguments of ``@bentoml.service`` that all our services share."""
    return {
        "service_class": service_class,
        "http": {"port": port},
        # Our own deadline answers first; BentoML's would leave the work running and its slot free.
        "traffic": {"timeout": int(_document_seconds() + settings().body_seconds) + 60},
        # BentoML's client closes its session under the calls in flight after every 100 requests or 300 seconds:
        # one call in ten fails under load (bentoml issue 5540). So the session is never renewed.
        "runner_connection": {"max_requests": 1_000_000_000, "max_age": 1e9},
        # A path with %0a forges lines in BentoML's access log; the outermost layer writes one of its own.
        "logging": {"access": {"enabled": False}},
    }


def model_configuration(name: str) -> dict[str, Any]:
    """The arguments of ``@bentoml.service`` for the model of that row."""
    row = registry.model(name)
    return {"name": row.class_name, "resources": resources(row), **configuration(row.port)}


def resources(row: Model) -> dict[str, float]:
    """What a model asks for: a GPU of its own where there are enough, else a part of one; on a CPU nothing."""
    if not gpus() or not _has_network(row):
        return {}
    models = sum(map(_has_network, MODELS))
    return {"gpu": 1 if gpus() >= models else 1 / ceil(models / gpus())}


def _has_network(row: Model) -> bool:
    return row.gpu and (not row.loads_checkpoint or settings().checkpoint is not None)


def threads() -> int:
    """CPU threads of a torch model beside others; each taking every core would only make them wait for one another.

    Those of OpenVINO sleep while they have nothing to do, and take every core.
    """
    return settings().threads or max(1, cores() // sum(row.gpu for row in MODELS))
