"""The shortest way from the outermost layer to a route: its function is looked up by path and called directly.

The layers of BentoML and FastAPI in between (metrics, tracing, timeouts, dependencies, exit stacks) took more of a
request's time than everything else outside the network, and no route here uses them. Other requests take the long way
through these layers.
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
"""Route functions by method and path."""


def endpoints(routers: Iterable[APIRouter]) -> dict[tuple[str, str], Endpoint]:
    """Return the functions of the routes with a fixed path and ``request`` as their only parameter."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {
        (method, route.path): route.endpoint
        for route in routes
        if "{" not in route.path and [*inspect.signature(route.endpoint).parameters] == ["request"]
        for method in route.methods or ()
    }


class Direct:
    """An application with direct routes in front of it, which bypass its layers."""

    def __init__(self, app: ASGIApp, routes: Endpoints) -> None:
        self.app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the route's function, or pass the request on to the application."""
        endpoint = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except RunnerError as error:
            response = answer_error(request, error)
        await response(scope, receive, send)
