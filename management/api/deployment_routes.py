"""Routes that change deployments: deploy, update, scale, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request

from management.api import messages, schemas
from management.api.configs import change_of, config_of
from management.api.documentation import openapi
from management.api.documentation import responses as documented
from management.api.idempotency import Body, Idempotency
from management.api.parsing import body, language, model_id_of, query
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments, active_count
from management.domain.keys import Key
from management.domain.records import Deployment
from management.errors import InvalidModelConfig
from management.store import Session
from web.answers import JSONAnswer


class DeploymentRoutes:
    """Each handler parses the request, commits one change, and waits for the outcome if the request says so."""

    def __init__(
        self,
        commands: DeploymentCommands,
        deployments: Deployments,
        idempotency: Idempotency,
        allowed_environment: Sequence[str],
    ) -> None:
        self._commands, self._deployments, self._idempotency = commands, deployments, idempotency
        self._context: Final = {schemas.ALLOWED: allowed_environment}

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.add_api_route(
            "/models/deploy",
            self.deploy,
            methods=["POST"],
            **openapi.change("deploy_model", "Deploy a model", schemas.DeployBody, documented.DeploymentAnswer),
        )
        router.add_api_route(
            "/models/{model_id}",
            self.update,
            methods=["PUT"],
            **openapi.change("update_model", "Update a model", schemas.UpdateBody, documented.DeploymentAnswer),
        )
        router.add_api_route(
            "/models/{model_id}/scale",
            self.scale,
            methods=["POST"],
            **openapi.change("scale_model", "Scale a model", schemas.ScaleBody, documented.ScaleAnswer),
        )
        router.add_api_route(
            "/models/{model_id}",
            self.delete,
            methods=["DELETE"],
            **openapi.change("delete_model", "Delete a model", None, documented.DeleteAnswer),
        )

    async def deploy(self, request: Request) -> JSONAnswer:
        """Deploy a new model."""
        given = (await body(request, schemas.DeployBody, InvalidModelConfig, self._context)).config
        await self._deployments.check_image(given.docker_image)
        wait = query(request, schemas.WaitQuery).wait
        config, actor = config_of(given), _actor(request)
        async with self._idempotency.once(request, wait) as reply:
            desired = await reply.commit(
                lambda session: self._commands.deploy(session, given.model_id, config, actor),
                lambda _, deployment: _deployment(request, "deploying", deployment),
            )
            if wait and await self._deployments.reached(desired, wait) is not None:
                reply.done(_deployment(request, "deployed", desired))
        return reply.response()

    async def update(self, request: Request) -> JSONAnswer:
        """Change a model's configuration."""
        model_id = model_id_of(request)
        given = (await body(request, schemas.UpdateBody, InvalidModelConfig, self._context)).config
        if given.docker_image is not None:
            await self._deployments.check_image_for(model_id, given.docker_image)
        wait = query(request, schemas.WaitQuery).wait
        change, actor = change_of(given), _actor(request)
        async with self._idempotency.once(request, wait) as reply:
            desired = await reply.commit(
                lambda session: self._commands.update(session, model_id, change, actor),
                lambda _, deployment: _deployment(request, "updating", deployment),
            )
            if wait and await self._deployments.reached(desired, wait) is not None:
                reply.done(_deployment(request, "updated", desired))
        return reply.response()

    async def scale(self, request: Request) -> JSONAnswer:
        """Set a model's number of replicas."""
        model_id = model_id_of(request)
        replicas = (await body(request, schemas.ScaleBody, InvalidModelConfig)).replicas
        wait = query(request, schemas.WaitQuery).wait
        actor = _actor(request)
        async with self._idempotency.once(request, wait) as reply:
            desired = await reply.commit(
                lambda session: self._commands.scale(session, model_id, replicas, actor),
                lambda session, deployment: _scaled(request, "scaling", deployment, _active(session, deployment)),
            )
            if wait and (active := await self._deployments.reached(desired, wait)) is not None:
                reply.done(_scaled(request, "scaled", desired, active))
        return reply.response()

    async def delete(self, request: Request) -> JSONAnswer:
        """Delete a model. Repeating it is harmless, so no Idempotency-Key is read."""
        model_id = model_id_of(request)
        given = query(request, schemas.DeleteQuery)
        actor = _actor(request)
        async with self._idempotency.always(request, given.wait) as reply:
            deployment = await reply.commit(
                lambda session: self._commands.delete(session, model_id, force=given.force, actor=actor),
                lambda _, deployment: {"message": _message(request, "deleting", deployment)},
                deleting=model_id,
            )
            if given.wait and await self._deployments.deleted(deployment, given.wait):
                reply.done({"message": _message(request, "deleted", deployment)})
        return reply.response()


def _actor(request: Request) -> str:
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
