"""The shortest way from the outermost layer to a route: its function, called by its path.

The layers of BentoML and FastAPI between (metrics, tracing, timeouts, dependencies, exit stacks) took more of a
request's time than all else that happens outside the network, and nothing here uses them. What has no such route goes
the long way, where the same function stands.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from runners.errors import RunnerError
from runners.http.responses import answer_error

Endpoint = Callable[[Request], Awaitable[Response]]
Endpoints = Mapping[tuple[str, str], Endpoint]
"""Functions by method and path."""


def endpoints(routers: Iterable[APIRouter]) -> dict[tuple[str, str], Endpoint]:
    """The routes of fixed path that take a request, give an answer, and ask FastAPI for nothing else."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {
        (method, route.path): route.endpoint
        for route in routes
        if "{" not in route.path and [*inspect.signature(route.endpoint).parameters] == ["request"]
        for method in route.methods or ()
    }


class Direct:
    """An application with the routes in front of it that need none of its layers."""

    def __init__(self, app: ASGIApp, routes: Endpoints) -> None:
        self.app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers by the route's function, or hands the request on."""
        endpoint = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await endpoint(request)
        except RunnerError as error:
            answer = answer_error(request, error)
        await answer(scope, receive, send)
