"""API tokens: the API keys of this server, whose roles stand behind the client's scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from management.bentoml_api import schemas
from management.bentoml_api.parsing import actor_of, body, page_of
from management.bentoml_api.views.resources import instant, organization, page, resource, user
from management.control.api_keys import ApiKeys
from management.domain.clock import now, written
from management.domain.keys import Key, Role
from management.errors import InvalidRequest, Problem
from web.answers import JSONAnswer, large_answer

READS: Final = ("read_organization", "read_cluster")
CALLS: Final = ("api",)
WRITES: Final = ("write_organization", "write_cluster")
SCOPES: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.VIEWER: READS,
    Role.OPERATOR: (*CALLS, *READS),
    Role.ADMIN: (*CALLS, *READS, *WRITES),
}
"""The client's scopes that each role has."""
LISTED: Final = 1000
_PATH: Final = "/api/v1/api_tokens"


class TokenRoutes:
    """Revoked keys are not shown: for the client they are deleted."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(_PATH, self.list, methods=["GET"]),
            Route(_PATH, self.create, methods=["POST"]),
            Route(f"{_PATH}/{{uid}}", self.get, methods=["GET"]),
            Route(f"{_PATH}/{{uid}}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """The tokens whose name contains ``search``."""
        start, count = page_of(request, LISTED)
        text = request.query_params.get("search") or ""
        found = [key for key in await self._keys.all() if text in key.name]
        return await large_answer(page([_shown(key) for key in found[start : start + count]], start, len(found)))

    async def create(self, request: Request) -> Response:
        """A new token, which this answer alone shows."""
        given = await body(request, schemas.TokenBody, InvalidRequest)
        role, end = role_of(given.scopes), _end(given.expired_at)
        new = await self._keys.create(given.name, role, end, actor_of(request), given.description or "")
        return JSONAnswer({**_shown(new.key), "token": new.text})

    async def get(self, request: Request) -> Response:
        """One token."""
        return JSONAnswer(_shown(await self._keys.get(request.path_params["uid"])))

    async def delete(self, request: Request) -> Response:
        """Revoke a token."""
        await self._keys.revoke(request.path_params["uid"], actor_of(request))
        return JSONAnswer({})


def role_of(scopes: Iterable[str] | None) -> Role:
    """Return the smallest role that has all these scopes; without any, that of an admin. Raises InvalidRequest."""
    wanted = set(SCOPES[Role.ADMIN] if scopes is None else scopes)
    for role in Role:
        if wanted and wanted <= set(SCOPES[role]):
            return role
    raise InvalidRequest(Problem("scopes", "choice", {"expected": ", ".join(SCOPES[Role.ADMIN])}))


def _end(text: str | None) -> datetime | None:
    """The time at which a token ends. The client sends the time of its own clock without a zone: it is read as UTC."""
    if not text:
        return None
    if (moment := written(text)) is None:
        raise InvalidRequest(Problem("expired_at", "type", {"expected": "date"}))
    return moment


def _shown(key: Key) -> dict[str, Any]:
    return {
        **resource("api_token", key.name, uid=key.id, created_at=key.created_at),
        "description": key.description,
        "scopes": list(SCOPES[key.role]),
        "user": user(key.name),
        "organization": organization(),
        "expired_at": None if key.expires_at is None else instant(key.expires_at),
        "last_used_at": None if key.last_used_at is None else instant(key.last_used_at),
        "is_expired": key.expires_at is not None and key.expires_at <= now(),
        "is_api_token": True,
        "is_organization_token": False,
        "is_global_access": False,
        "token": None,
    }
