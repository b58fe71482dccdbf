"""The route of a model's environment: its state, what is installed in it, and the log of its making."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from management.api import schemas, views
from management.api.documentation import openapi
from management.api.documentation.status import EnvironmentAnswer
from management.api.parsing import PathModelId
from management.backends.preparation import EnvironmentPreparer
from management.errors import ModelNotFound
from management.store import Store
from web.answers import JSONAnswer


class EnvironmentRoutes:
    """Reads the store once, and the files of the environment."""

    def __init__(self, store: Store, environments: EnvironmentPreparer) -> None:
        self._store, self._environments = store, environments

    def add_to(self, router: APIRouter) -> None:
        """Add the route with its documentation."""
        router.get("/models/{model_id}/environment", **openapi.view(EnvironmentAnswer))(self.model_environment)

    async def model_environment(
        self, model_id: PathModelId, given: Annotated[schemas.EnvironmentQuery, Query()]
    ) -> JSONAnswer:
        """The environment of a model's replicas, what is installed in it, and the log of its making."""
        deployment = await self._store.read(lambda session: session.deployments.get(model_id))
        if deployment is None:
            raise ModelNotFound({"model_id": model_id})
        image, environments = deployment.target.config.docker_image, self._environments
        return JSONAnswer(
            {
                "model_id": model_id,
                "environment": views.environment(await environments.look(image)),
                "packages": list(await environments.packages(image)),
                "log": await environments.log(image, given.tail),
            }
        )
