"""Routes that set, show and delete secrets. No answer has the value of a secret."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from management.api import views
from management.api.documentation import openapi
from management.api.documentation.responses import DeleteAnswer, SecretAnswer, ShownSecret
from management.api.parsing import language
from management.api.routes.deployments import actor_of
from management.control.secrets import Secrets
from management.domain.secrets import NAME, is_name
from management.errors import InvalidRequest, Problem, SecretInUse, SecretNotFound, SecretsUnreadable
from management.forms.bodies import SecretBody
from management.forms.configs import content_of
from management.wording import messages
from web.answers import JSONAnswer

SecretName = Annotated[str, Path(pattern=NAME)]
"""The path's name. The pattern only documents it: for reading and deleting, another name is that of no secret."""


class SecretRoutes:
    """Setting and deleting are idempotent, so no Idempotency-Key is read."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.get("/secrets", **openapi.secret(list[ShownSecret]))(self.list_secrets)
        router.get("/secrets/{name}", **openapi.secret(ShownSecret, None, SecretNotFound))(self.show_secret)
        router.put("/secrets/{name}", **openapi.secret(SecretAnswer, SecretAnswer, SecretsUnreadable))(self.set_secret)
        router.delete("/secrets/{name}", **openapi.secret(DeleteAnswer, None, SecretNotFound, SecretInUse))(
            self.delete_secret
        )

    async def list_secrets(self) -> JSONAnswer:
        """All secrets without their values, by name."""
        return JSONAnswer([views.secret(stored) for stored in await self._secrets.all()])

    async def show_secret(self, name: SecretName) -> JSONAnswer:
        """One secret without its values."""
        return JSONAnswer(views.secret(await self._secrets.get(name)))

    async def set_secret(self, request: Request, name: SecretName, body: SecretBody) -> JSONAnswer:
        """Set all values of a secret.

        Running replicas keep the earlier ones. A replica that starts later gets the new ones; an update of a model with
        the same `secrets` makes a new revision, which is rolled out.
        """
        if not is_name(name):
            raise InvalidRequest(Problem("name", "pattern", {"expected": NAME}))
        stored, new = await self._secrets.put(name, content_of(body), actor_of(request))
        message = _message(request, "secret_changed" if stored.model_ids else "secret_set", name)
        return JSONAnswer({**views.secret(stored), "message": message}, status_code=201 if new else 200)

    async def delete_secret(self, request: Request, name: SecretName) -> JSONAnswer:
        """Delete a secret that no model names."""
        await self._secrets.delete(name, actor_of(request))
        return JSONAnswer({"message": _message(request, "secret_deleted", name)})


def _message(request: Request, key: str, name: str) -> str:
    return messages.text(messages.DONE, key, language(request), name=name)
