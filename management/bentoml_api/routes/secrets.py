"""Secrets. No answer has a value: the client gets the names of variables and files alone."""

from __future__ import annotations

import posixpath
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from management.bentoml_api import schemas
from management.bentoml_api.parsing import actor_of, body, page_of
from management.bentoml_api.views.resources import cluster, page, resource, user
from management.control.secrets import Secrets, StoredSecret
from management.domain.secrets import FOLDER_VARIABLE, NAME, SecretContent, is_file, is_name
from management.errors import InvalidRequest, Problem, SecretNotFound
from management.forms import fields
from management.forms.bodies import SecretBody
from management.forms.configs import content_of
from management.forms.validation import validated
from web.answers import JSONAnswer, large_answer

VARIABLES: Final = "env"
FILES: Final = "mountfile"
STAGES: Final = (None, "", "runtime")
"""When replicas receive a secret; environments are made without any."""
HOME: Final = "$BENTOML_HOME"
"""Folder that the client names for files where its user names none."""
LISTED: Final = 1000
_PATH: Final = "/api/v1/org_secrets"


class CloudSecretRoutes:
    """The same secrets as those of the documented API."""

    def __init__(self, secrets: Secrets, allowed_environment: tuple[str, ...]) -> None:
        self._secrets, self._allowed = secrets, allowed_environment

    def routes(self) -> list[Route]:
        """The routes."""
        one = f"{_PATH}/{{name}}"
        return [
            Route(_PATH, self.list, methods=["GET"]),
            Route(_PATH, self.create, methods=["POST"]),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.update, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """The secrets whose name contains ``search``."""
        start, count = page_of(request, LISTED)
        text = request.query_params.get("search") or ""
        found = [each for each in await self._secrets.all() if text in each.secret.name]
        return await large_answer(page([_shown(each) for each in found[start : start + count]], start, len(found)))

    async def get(self, request: Request) -> Response:
        """One secret."""
        return JSONAnswer(_shown(await self._secrets.get(_name(request))))

    async def create(self, request: Request) -> Response:
        """A new secret. Raises InvalidRequest for a name that is taken."""
        given = await body(request, schemas.CloudSecretBody, InvalidRequest)
        if not is_name(given.name):
            raise InvalidRequest(Problem("name", "pattern", {"expected": NAME}))
        stored = await self._secrets.add(given.name, self._content(given), actor_of(request), given.description)
        if stored is None:
            raise InvalidRequest(Problem("name", "secret_exists", {"found": given.name}))
        return JSONAnswer(_shown(stored))

    async def update(self, request: Request) -> Response:
        """Replace all values of a secret."""
        given = await body(request, schemas.CloudSecretBody, InvalidRequest)
        content, actor = self._content(given), actor_of(request)
        stored = await self._secrets.change(_name(request), content, actor, given.description)
        return JSONAnswer(_shown(stored))

    async def delete(self, request: Request) -> Response:
        """Delete a secret that no deployment names."""
        await self._secrets.delete(_name(request), actor_of(request))
        return JSONAnswer({})

    def _content(self, given: schemas.CloudSecretBody) -> SecretContent:
        wanted = given.content
        if wanted.type not in (VARIABLES, FILES):
            raise InvalidRequest(Problem("content.type", "choice", {"expected": f"{VARIABLES}, {FILES}"}))
        if wanted.stage not in STAGES:
            raise InvalidRequest(Problem("content.stage", "secret_stage"))
        values = {item.key: item.value or "" for item in wanted.items}
        if len(values) < len(wanted.items):
            keys = [item.key for item in wanted.items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InvalidRequest(Problem("content.items", "secret_twice", {"found": twice}))
        raw: Mapping[str, Any] = {"variables": values}
        if wanted.type == FILES:
            folder = _folder(wanted.path or HOME)
            raw = {
                "files": {
                    posixpath.join(folder, name): b64encode(value.encode()).decode() for name, value in values.items()
                }
            }
        context = {fields.ALLOWED: self._allowed}
        return content_of(validated(raw, SecretBody, InvalidRequest, context))


def _name(request: Request) -> str:
    """The name in the path. Raises SecretNotFound for what no secret is called."""
    name: str = request.path_params["name"]
    if not is_name(name):
        raise SecretNotFound
    return name


def _folder(path: str) -> str:
    """The folder of files below that of their secret. Raises InvalidRequest for one that is not below the home."""
    below = path.removeprefix(HOME).strip("/")
    if not f"{path}/".startswith(f"{HOME}/") or (below and not is_file(below)):
        raise InvalidRequest(Problem("content.path", "secret_folder", {"expected": f"{HOME}/certificates"}))
    return below


def _shown(stored: StoredSecret) -> dict[str, Any]:
    secret = stored.secret
    is_files = bool(secret.files) and not secret.variables
    items = secret.files if is_files else (*secret.variables, *secret.files)
    return {
        **resource("secret", secret.name, created_at=secret.created_at, updated_at=secret.updated_at),
        "description": secret.description,
        "creator": user(""),
        "content": {
            "type": FILES if is_files else VARIABLES,
            "items": [{"key": name, "sub_path": None, "value": None} for name in items],
            "path": f"${FOLDER_VARIABLE}/{secret.name}" if is_files else None,
            "stage": "runtime",
        },
        "cluster": cluster(),
    }
