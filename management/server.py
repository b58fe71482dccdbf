"""The management alone, on a port of its own, as ``python -m management serve`` runs it."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from multiprocessing import parent_process
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from management.api import PREFIX
from management.api.application import CONTROL_BYTES
from management.configuration import settings
from management.platform import Platform
from web.answers import JSONAnswer
from web.edge.access_log import configure_access_log
from web.edge.middleware import Edge, Limits
from web.server import ports, server_file
from web.server.lifeline import end_with
from web.server.uvicorn_protocol import Connection, limits
from web.settings import settings as outermost

APPLICATION: Final = "management.server:application"
HEADER_TIMEOUT_SECONDS: Final = 10.0
"""Seconds a client has to send a request's headers."""
SHUTDOWN_GRACE_SECONDS: Final = 5
"""Seconds requests in flight have to end when the server shuts down."""
BACKLOG: Final = 128
"""Connections accepted at a time: each takes a descriptor before it can be rejected."""
WORKER_SECONDS: Final = 30
"""Seconds in which a worker that is started in another one's place must serve, or a worker must answer its parent.

uvicorn's own 5 s are too few on a busy machine: it would end the new worker, and each one after it.
"""
PATHS: Final = frozenset({"/", "/health"})
"""Paths of the server itself, beside those of the API."""

HTTPProtocol = type("HTTPProtocol", (Connection, AutoHTTPProtocol), limits(HEADER_TIMEOUT_SECONDS))
"""uvicorn's protocol with the limits of all connections. Workers receive the class by this name."""


def application() -> ASGIApp:
    """One worker's application."""
    if (parent := parent_process()) is not None and parent.pid is not None:
        end_with(parent.pid)  # no worker keeps the port when their parent is killed
    configure_access_log()
    logging.getLogger("management").setLevel(logging.INFO)
    platform = Platform()

    async def answer_health(_: Request) -> JSONAnswer:
        health = await platform.health()
        return JSONAnswer(health, status_code=503 if health["status"] == "unhealthy" else 200)

    async def redirect_to_docs(_: Request) -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/docs")

    def is_own_path(scope: Scope) -> bool:
        return scope["path"] in PATHS

    main = Starlette(routes=[Route("/health", answer_health), Route("/", redirect_to_docs)])
    edge_limits = Limits(body_bytes=CONTROL_BYTES, request_seconds=60.0, body_seconds=60.0)
    return Edge(main, name="management", routes=is_own_path, limits=edge_limits, sections=platform.sections())


def serve(host: str, port: int, workers: int) -> None:
    """Serves until stopped.

    With several workers, the replicas are stopped by the parent: a single worker that ends may be restarted.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # connections to callers, and to replicas
    keep = settings().server.keep_replicas
    if workers > 1:
        os.environ["ATELIER_KEEP_REPLICAS"] = "true"
    os.environ["ATELIER_WORKERS"] = str(workers)
    with server_file.announced(settings().storage.home, f"http://{ports.reached(host)}:{port}", port):
        uvicorn.run(
            APPLICATION,
            factory=True,
            http=HTTPProtocol,
            host=host,
            port=port,
            workers=workers,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
            timeout_worker_healthcheck=WORKER_SECONDS,
            backlog=BACKLOG,
            forwarded_allow_ips=outermost().trusted_proxies,
        )
    if workers > 1 and not keep:
        asyncio.run(Platform().end_replicas())
