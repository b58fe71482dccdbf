"""Routes that change deployments: deploy, update, scale, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from management.api import schemas
from management.api.documentation import openapi
from management.api.documentation.responses import DeleteAnswer, DeploymentAnswer, ScaleAnswer
from management.api.idempotency import Body, Idempotency
from management.api.parsing import PathModelId, language
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments, active_count
from management.control.secrets import Secrets
from management.domain.keys import Key
from management.domain.records import Deployment
from management.errors import ModelAlreadyExists, ModelNotFound
from management.forms.configs import change_of, config_of
from management.store import Session
from management.wording import messages
from web.answers import JSONAnswer


class DeploymentRoutes:
    """Each handler commits one change, and waits for the outcome if the request says so."""

    def __init__(
        self, commands: DeploymentCommands, deployments: Deployments, secrets: Secrets, idempotency: Idempotency
    ) -> None:
        self._commands, self._deployments, self._secrets = commands, deployments, secrets
        self._idempotency = idempotency

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.post("/models/deploy", **openapi.change(DeploymentAnswer, ModelAlreadyExists))(self.deploy_model)
        router.put("/models/{model_id}", **openapi.change(DeploymentAnswer, ModelNotFound))(self.update_model)
        router.post("/models/{model_id}/scale", **openapi.change(ScaleAnswer, ModelNotFound))(self.scale_model)
        router.delete("/models/{model_id}", **openapi.deletion(DeleteAnswer))(self.delete_model)

    async def deploy_model(self, request: Request, body: schemas.DeployBody) -> JSONAnswer:
        """Deploy a new model."""
        given = body.config
        await self._deployments.check_image(given.docker_image)
        await self._deployments.check_api(given.docker_image, given.default_api)
        await self._secrets.check(given.secrets)
        config, actor = config_of(given), actor_of(request)
        async with self._idempotency.once(request) as reply:
            desired = await reply.commit(
                lambda session: self._commands.deploy(session, given.model_id, config, actor),
                lambda _, deployment: _deployment(request, "deploying", deployment),
            )
            if reply.wait and await self._deployments.reached(desired, reply.wait) is not None:
                reply.done(_deployment(request, "deployed", desired))
        return reply.response()

    async def update_model(self, request: Request, model_id: PathModelId, body: schemas.UpdateBody) -> JSONAnswer:
        """Change a model's configuration."""
        given = body.config
        if given.docker_image is not None:
            await self._deployments.check_image_for(model_id, given.docker_image)
        await self._deployments.check_api_for(model_id, given.docker_image, given.default_api)
        await self._secrets.check(given.secrets or ())
        change, actor = change_of(given), actor_of(request)
        async with self._idempotency.once(request) as reply:
            desired = await reply.commit(
                lambda session: self._commands.update(session, model_id, change, actor),
                lambda _, deployment: _deployment(request, "updating", deployment),
            )
            if reply.wait and await self._deployments.reached(desired, reply.wait) is not None:
                reply.done(_deployment(request, "updated", desired))
        return reply.response()

    async def scale_model(self, request: Request, model_id: PathModelId, body: schemas.ScaleBody) -> JSONAnswer:
        """Set a model's number of replicas."""
        actor = actor_of(request)
        async with self._idempotency.once(request) as reply:
            desired = await reply.commit(
                lambda session: self._commands.scale(session, model_id, body.replicas, actor),
                lambda session, deployment: _scaled(request, "scaling", deployment, _active(session, deployment)),
            )
            if reply.wait and (active := await self._deployments.reached(desired, reply.wait)) is not None:
                reply.done(_scaled(request, "scaled", desired, active))
        return reply.response()

    async def delete_model(
        self, request: Request, model_id: PathModelId, given: Annotated[schemas.DeleteQuery, Query()]
    ) -> JSONAnswer:
        """Delete a model. Repeating it is harmless, so no Idempotency-Key is read."""
        actor = actor_of(request)
        async with self._idempotency.always(request, given.wait) as reply:
            deployment = await reply.commit(
                lambda session: self._commands.delete(session, model_id, force=given.force, actor=actor),
                lambda _, deployment: {"message": _message(request, "deleting", deployment)},
                deleting=model_id,
            )
            if reply.wait and await self._deployments.deleted(deployment, reply.wait):
                reply.done({"message": _message(request, "deleted", deployment)})
        return reply.response()


def actor_of(request: Request) -> str:
    """The name of the request's API key, which events show as their actor."""
    key: Key = request.scope["state"]["key"]
    return key.name


def _active(session: Session, deployment: Deployment) -> int:
    return active_count(session.replicas.of([deployment.id]))


def _deployment(request: Request, message: str, deployment: Deployment) -> Body:
    return {"deployment_id": deployment.id, "message": _message(request, message, deployment)}


def _scaled(request: Request, message: str, deployment: Deployment, active: int) -> Body:
    return {
        "message": _message(request, message, deployment),
        "current_replicas": active,
        "target_replicas": deployment.replicas,
    }


def _message(request: Request, key: str, deployment: Deployment) -> str:
    values: dict[str, Any] = {"model_id": deployment.model_id, "replicas": deployment.replicas}
    return messages.text(messages.DONE, key, language(request), **values)
