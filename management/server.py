"""The management alone, on a port of its own: what ``python -m management serve`` runs."""

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
from management.platform import Platform
from management.settings import settings
from web.answers import JSONAnswer
from web.edge.access_log import configure_access_log
from web.edge.middleware import Edge, Limits
from web.server import ports, server_file
from web.server.lifeline import end_with
from web.server.uvicorn_protocol import Connection, limits
from web.settings import settings as outermost

APPLICATION: Final = "management.server:application"
HEADER_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 5
BACKLOG: Final = 128
"""Connections that are taken at a time: each has a descriptor before it can be turned away."""
PATHS: Final = frozenset({"/", "/health"})


OurProtocol = type("OurProtocol", (Connection, AutoHTTPProtocol), limits(HEADER_SECONDS))
"""uvicorn's protocol with what all our connections keep to; each worker makes one when it imports this module."""


def application() -> ASGIApp:
    """One worker's application."""
    if (parent := parent_process()) is not None and parent.pid is not None:
        end_with(parent.pid)  # one of several workers: none stays on the port when what starts them is killed
    configure_access_log()
    logging.getLogger("management").setLevel(logging.INFO)
    platform = Platform()

    async def health(_: Request) -> JSONAnswer:
        said = await platform.health()
        return JSONAnswer(said, status_code=503 if said["status"] == "unhealthy" else 200)

    async def index(_: Request) -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/docs")

    def served(scope: Scope) -> bool:
        return scope["path"] in PATHS

    main = Starlette(routes=[Route("/health", health), Route("/", index)])
    asked = Limits(body_bytes=CONTROL_BYTES, request_seconds=60.0, body_seconds=60.0)
    return Edge(main, name="management", routes=served, limits=asked, sections=(platform.section(),))


def serve(host: str, port: int, workers: int) -> None:
    """Serves until stopped.

    Of several workers none ends the replicas when it ends, because it may be started anew; their parent does.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # connections to callers, and to replicas
    keep = settings().keep_replicas
    if workers > 1:
        os.environ["ATELIER_KEEP_REPLICAS"] = "true"
    with server_file.announced(settings().home, f"http://{ports.reached(host)}:{port}", port):
        uvicorn.run(
            APPLICATION,
            factory=True,
            http=OurProtocol,
            host=host,
            port=port,
            workers=workers,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
            forwarded_allow_ips=outermost().trusted_proxies,
        )
    if workers > 1 and not keep:
        asyncio.run(Platform().end_replicas())
