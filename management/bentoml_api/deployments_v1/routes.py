"""Version 1's calls on deployments: those of version 2 at paths that name the only cluster and its only namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import override

from management.bentoml_api.deployments_v1 import views
from management.bentoml_api.deployments_v1.bodies import NamedTargetsBody, TargetsBody
from management.bentoml_api.deployments_v1.translation import translated
from management.bentoml_api.parsing import body
from management.bentoml_api.routes.deployments import CloudDeploymentRoutes
from management.bentoml_api.views.deployments import ShownDeployment
from management.bentoml_api.views.resources import CLUSTER, NAMESPACE
from management.errors import ModelNotFound, RouteNotFound

Handler = Callable[[Request], Awaitable[Response]]
_ALL: Final = "/api/v1/deployments"
_OF_CLUSTER: Final = "/api/v1/clusters/{cluster}/deployments"
_ONE: Final = "/api/v1/clusters/{cluster}/namespaces/{namespace}/deployments/{name}"


class CloudDeploymentV1Routes(CloudDeploymentRoutes):
    """The same commands as those of version 2; bodies and answers are translated."""

    @override
    def routes(self) -> list[Route]:
        return [
            Route(_ALL, self.list, methods=["GET"]),
            Route(_OF_CLUSTER, _here(self.list), methods=["GET"]),
            Route(_OF_CLUSTER, _here(self.create), methods=["POST"]),
            Route(_ONE, _here(self.get), methods=["GET"]),
            Route(_ONE, _here(self.update), methods=["PATCH"]),
            Route(_ONE, _here(self.delete), methods=["DELETE"]),
            Route(f"{_ONE}/terminate", _here(self.terminate), methods=["POST"]),
        ]

    @override
    async def create(self, request: Request) -> Response:
        given = translated(await body(request, NamedTargetsBody))
        return await self._create(request, given.body, given.resources)

    @override
    async def update(self, request: Request) -> Response:
        given = translated(await body(request, TargetsBody))
        return await self._update(request, given.body, given.resources, given.kept)

    @override
    def _listed(self, shown: ShownDeployment, *, masked: bool) -> dict[str, Any]:
        return views.listed(shown, masked=masked)

    @override
    def _full(self, shown: ShownDeployment, url: str, *, masked: bool) -> dict[str, Any]:
        return views.full(shown, url, masked=masked)


def _here(handler: Handler) -> Handler:
    """Return the handler for the only cluster and its only namespace; there is nothing in any other."""

    async def handle(request: Request) -> Response:
        given = request.path_params
        if given["cluster"] != CLUSTER:
            raise RouteNotFound
        if given.get("namespace", NAMESPACE) != NAMESPACE:
            raise ModelNotFound({"model_id": given["name"]})
        return await handler(request)

    return handle
