"""Who the caller is, and the resources of which there is one: organization, cluster, instance types."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from management.bentoml_api.instances.instance_types import LocalInstanceType
from management.bentoml_api.parsing import key_of
from management.bentoml_api.views import resources
from management.bentoml_api.views.instances import shown
from management.errors import RouteNotFound
from management.urls import own_address
from web.answers import JSONAnswer


class IdentityRoutes:
    """Nothing here reads the database."""

    def __init__(self, types: Sequence[LocalInstanceType]) -> None:
        self._types = types

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/api/v1/auth/current", self.current_user),
            Route("/api/v1/current_org", self.organization),
            Route("/api/v1/clusters", self.clusters),
            Route("/api/v1/clusters/{cluster}", self.cluster),
            Route("/api/v1/instance_types", self.instance_types),
            Route("/deployments/{name}", self.page),
            Route("/codespaces/{name}", self.page),
        ]

    async def current_user(self, request: Request) -> JSONAnswer:
        """The user that the key stands for."""
        return JSONAnswer(resources.user_of(key_of(request)))

    async def organization(self, _: Request) -> JSONAnswer:
        """The only organization."""
        return JSONAnswer(resources.organization())

    async def clusters(self, _: Request) -> JSONAnswer:
        """The only cluster, in a list."""
        return JSONAnswer(resources.page([resources.cluster()], 0, 1))

    async def cluster(self, request: Request) -> JSONAnswer:
        """The only cluster."""
        if request.path_params["cluster"] != resources.CLUSTER:
            raise RouteNotFound
        return JSONAnswer(resources.full_cluster(map(shown, self._types)))

    async def instance_types(self, _: Request) -> JSONAnswer:
        """What ``--instance-type`` may be."""
        return JSONAnswer([shown(each) for each in self._types])

    async def page(self, request: Request) -> RedirectResponse:
        """The page of a deployment, whose address the client prints: the model's own documentation."""
        return RedirectResponse(f"{own_address('', request.path_params['name'])}docs", status_code=303)
