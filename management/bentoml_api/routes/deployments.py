"""Deployments: create, read, change, stop, start and delete them by the commands that the documented API calls."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from management.bentoml_api import schemas
from management.bentoml_api.catalog import Catalog, Records
from management.bentoml_api.configs import REPOSITORY, Translator
from management.bentoml_api.parsing import actor_of, base_url, body, page_of, sees_values
from management.bentoml_api.views import deployments as views
from management.bentoml_api.views.resources import page
from management.control.codespaces.codespaces import Codespaces
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.control.secrets import Secrets
from management.domain.config_change import ConfigChange
from management.domain.records import Deployment, ModelConfig
from management.errors import BentoNotFound, InvalidModelConfig, ManagementError, Problem
from management.store import Session
from web.answers import large_answer

LISTED: Final = 1000
"""Entries of a list that asks for no number."""
MAX_STEM: Final = 54
"""Letters of a Bento's name in the name that a deployment without one gets."""
_NO_NAME: Final = re.compile(r"[^a-z0-9_-]+")
LABEL: Final = "label:"
"""Beginning of a word of a query that asks for a label."""
DEVELOPMENT: Final = "is:dev"
"""Word of a query that asks for deployments that are edited while they run."""
_PATH: Final = "/api/v2/deployments"


class CloudDeploymentRoutes:
    """The names of deployments are those of the documented API: its ``model_id``."""

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        catalog: Catalog,
        commands: DeploymentCommands,
        deployments: Deployments,
        secrets_: Secrets,
        translator: Translator,
        codespaces: Codespaces,
    ) -> None:
        self._catalog, self._commands, self._deployments = catalog, commands, deployments
        self._secrets, self._translator, self._codespaces = secrets_, translator, codespaces

    def routes(self) -> list[Route]:
        """The routes."""
        one = f"{_PATH}/{{name}}"
        return [
            Route(_PATH, self.list, methods=["GET"]),
            Route(_PATH, self.create, methods=["POST"]),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.update, methods=["PUT"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/void_update", self.start, methods=["PUT"]),
            Route(f"{one}/terminate", self.terminate, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """A page of the deployments, the newest first."""
        start, count = page_of(request, LISTED)
        found = await self._found(request.query_params.get("search") or "", request.query_params.get("q") or "")
        masked = not sees_values(request)
        shown = [await self._catalog.shown(*records) for records in found[start : start + count]]
        items = [self._listed(each, masked=masked) for each in shown]
        return await large_answer(page(items, start, len(found)))

    async def get(self, request: Request) -> Response:
        """One deployment."""
        return await self._answer(request, request.path_params["name"])

    async def create(self, request: Request) -> Response:
        """Deploy a Bento of the store. A deployment without a name gets one of the Bento's.

        A codespace is stopped until its files have arrived.
        """
        given = await body(request, schemas.DeploymentBody)
        if not given.dev:
            return await self._create(request, given)
        manifest = await self._codespaces.announced(given.bento)
        if manifest is None:
            raise BentoNotFound({"bento": given.bento})
        bento = await self._codespaces.begin(manifest)
        name = given.name or _name_of(str(manifest.get("name")))
        try:
            return await self._deploy(request, name, self._translator.new(given, name, bento), given)
        except ManagementError:
            await self._codespaces.end(f"{REPOSITORY}/{bento.tag}")
            raise

    async def _create(
        self, request: Request, given: schemas.DeploymentBody, resources: Mapping[str, str] | None = None
    ) -> Response:
        bento = await self._catalog.bento(given.bento)
        name = given.name or _name_of(bento.tag.name)
        return await self._deploy(request, name, self._translator.new(given, name, bento, resources), given)

    async def _deploy(
        self, request: Request, name: str, config: ModelConfig, given: schemas.DeploymentBody
    ) -> Response:
        actor = actor_of(request)
        await self._deployments.check_image(config.docker_image)
        await self._secrets.check(given.secrets or ())
        await self._deployments.commit(
            lambda session: self._commands.deploy(session, name, config, actor, start=not given.dev)
        )
        return await self._answer(request, name)

    async def update(self, request: Request) -> Response:
        """Change a deployment to what the body describes as a whole, and start it if it is stopped.

        A codespace stays as it is until its files have arrived, but for what else is changed.
        """
        return await self._update(request, await body(request, schemas.DeploymentBody))

    async def _update(
        self,
        request: Request,
        given: schemas.DeploymentBody,
        resources: Mapping[str, str] | None = None,
        kept: Collection[str] = (),
    ) -> Response:
        """Change all but the fields of the change that are ``kept``, and start the deployment if it is stopped."""
        name, actor = request.path_params["name"], actor_of(request)
        before, _, _ = await self._catalog.records(name)
        config = before.target.config
        edited = await self._codespaces.of(config.docker_image)
        manifest = await self._codespaces.announced(given.bento)
        if manifest is not None and edited is None:
            raise InvalidModelConfig(Problem("bento", "no_codespace"))
        if manifest is None:
            bento = await self._catalog.bento(given.bento)
        else:
            bento = await self._codespaces.announce(config.docker_image, manifest)
        unchanged: dict[str, Any] = dict.fromkeys(kept)
        change = replace(self._translator.change(given, config, bento, resources), **unchanged)
        image = change.docker_image or config.docker_image
        await self._deployments.check_image_for(name, image)
        await self._deployments.check_api_for(name, image, None)
        await self._secrets.check(given.secrets or ())
        start = edited is None or not (edited.is_waiting or manifest is not None)
        if start or change.applied_to(config) != config:
            await self._deployments.commit(
                lambda session: self._commands.update(session, name, change, actor, start=start)
            )
        return await self._answer(request, name)

    async def start(self, request: Request) -> Response:
        """Start a stopped deployment as it is."""
        name, actor = request.path_params["name"], actor_of(request)
        await self._deployments.commit(
            lambda session: self._commands.update(session, name, ConfigChange(), actor, start=True)
        )
        return await self._answer(request, name)

    async def terminate(self, request: Request) -> Response:
        """Stop a deployment; it stays, and can be started again."""
        name, actor = request.path_params["name"], actor_of(request)
        await self._deployments.commit(lambda session: self._commands.scale(session, name, 0, actor))
        return await self._answer(request, name)

    async def delete(self, request: Request) -> Response:
        """Delete a deployment."""
        name, actor = request.path_params["name"], actor_of(request)
        before = await self._catalog.deployment(name)

        def delete(session: Session) -> Deployment:
            return self._commands.delete(session, name, force=False, actor=actor)

        await self._deployments.commit(delete, deleting=name)
        await self._codespaces.end(before.deployment.target.config.docker_image)
        return await large_answer(self._full(before, base_url(request), masked=not sees_values(request)))

    async def _found(self, search: str, query: str) -> Sequence[Records]:
        """The deployments of a query such as ``label:team=vision``, or ``is:dev`` for codespaces alone."""
        words = query.split()
        labels = (word.removeprefix(LABEL).partition("=") for word in words if word.startswith(LABEL))
        found = await self._catalog.all(search, {key: value for key, _, value in labels})
        if DEVELOPMENT in words:
            return [records for records in found if await self._catalog.is_codespace(records[0])]
        return found

    def _listed(self, shown: views.ShownDeployment, *, masked: bool) -> dict[str, Any]:
        return views.listed(shown, masked=masked)

    def _full(self, shown: views.ShownDeployment, url: str, *, masked: bool) -> dict[str, Any]:
        return views.full(shown, url, masked=masked)

    async def _answer(self, request: Request, name: str) -> Response:
        shown = await self._catalog.deployment(name)
        return await large_answer(self._full(shown, base_url(request), masked=not sees_values(request)))


def _name_of(bento: str) -> str:
    """A new name, which begins with that of the Bento."""
    return f"{_NO_NAME.sub('-', bento)[:MAX_STEM]}-{secrets.token_hex(3)}"
