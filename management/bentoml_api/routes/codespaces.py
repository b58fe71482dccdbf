"""Codespaces: deployments whose sources the client sends again whenever they are edited."""

from __future__ import annotations

import binascii
from dataclasses import asdict
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from management.bentoml_api import schemas
from management.bentoml_api.catalog import Catalog
from management.bentoml_api.configs import REPOSITORY
from management.bentoml_api.parsing import actor_of, body
from management.control.codespaces.codespaces import FIRST, Codespaces
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.domain.bento_tag import Tag, tag_of
from management.domain.config_change import ConfigChange
from management.errors import InvalidModelConfig, InvalidRequest, Problem
from management.store import Session
from web import base64_text
from web.answers import large_answer

FILES: Final = "/files"
"""End of the path of a codespace's files."""


class CodespaceRoutes:
    """The files of codespaces. Once all have arrived, each change becomes an update of the deployment."""

    def __init__(
        self, catalog: Catalog, codespaces: Codespaces, commands: DeploymentCommands, deployments: Deployments
    ) -> None:
        self._catalog, self._codespaces = catalog, codespaces
        self._commands, self._deployments = commands, deployments

    def routes(self) -> list[Route]:
        """The routes."""
        path = f"/api/v2/deployments/{{name}}{FILES}"
        return [
            Route(path, self.list, methods=["GET"]),
            Route(path, self.put, methods=["POST"]),
            Route(path, self.remove, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """The files, with the digests by which the client finds those that it has to send."""
        found = await self._codespaces.files(await self._image(request))
        if found is None:
            raise InvalidModelConfig(Problem("dev", "no_codespace"))
        return await large_answer({"files": [asdict(each) for each in found]})

    async def put(self, request: Request) -> Response:
        """Keep files, and update the deployment to what they make."""
        image = await self._image(request)
        given = await body(request, schemas.SourcesBody, InvalidRequest)
        files = await run_in_threadpool(_decoded, given)
        return await self._move(request, await self._codespaces.put(image, files))

    async def remove(self, request: Request) -> Response:
        """Remove files, and update the deployment to what is left."""
        image = await self._image(request)
        given = await body(request, schemas.RemovedSourcesBody, InvalidRequest)
        return await self._move(request, await self._codespaces.remove(image, given.paths))

    async def _image(self, request: Request) -> str:
        deployment, _, _ = await self._catalog.records(request.path_params["name"])
        if not await self._catalog.is_codespace(deployment):
            raise InvalidModelConfig(Problem("dev", "no_codespace"))
        return deployment.target.config.docker_image

    async def _move(self, request: Request, made: Tag | None) -> Response:
        """Update the deployment to the Bento, unless it has a later one or another. The first one starts it."""
        if made is None:
            return await large_answer({})
        name, actor = request.path_params["name"], actor_of(request)
        change = ConfigChange(version=made.version, docker_image=f"{REPOSITORY}/{made}")
        await self._deployments.check_image_for(name, f"{REPOSITORY}/{made}")

        def move(session: Session) -> None:
            present = session.deployments.get(name)
            tag = None if present is None else tag_of(present.target.config.docker_image)
            if tag is not None and tag.name == made.name and int(tag.version) < int(made.version):
                self._commands.update(session, name, change, actor, start=int(tag.version) == FIRST)

        await self._deployments.commit(move)
        await self._codespaces.clean()
        return await large_answer({})


def _decoded(given: schemas.SourcesBody) -> dict[str, bytes]:
    """Return the content of the files by path. Raises InvalidRequest for anything but base64."""
    files = {}
    for index, file in enumerate(given.files):
        try:
            files[file.path] = base64_text.decode(base64_text.plain(file.b64_encoded_content))
        except (ValueError, binascii.Error):
            raise InvalidRequest(Problem(f"files[{index}].b64_encoded_content", "base64")) from None
    return files
