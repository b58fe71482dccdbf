"""Bodies and parameters of the client's requests. Unknown fields are tolerated: a newer client may send more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from management.domain.bento_tag import Tag, is_tag
from management.domain.keys import Key, Role
from management.errors import InvalidModelConfig, InvalidRequest, Problem
from management.forms.validation import validated
from web.json import work
from web.json.strict_json import InvalidJSON

MAX_ELEMENTS: Final = 200_000
"""Elements of the largest body: the manifest of a Bento has the schemas of all its APIs."""
MAX_COUNT: Final = 10_000
"""Most entries of one page."""


class ClientBody(BaseModel):
    """Base of the client's bodies."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Model = TypeVar("Model", bound=ClientBody)


async def body(request: Request, model: type[Model], error: type[InvalidRequest] = InvalidModelConfig) -> Model:
    """Parse the JSON body. Raises ``error`` for an invalid one, and InvalidRequest for what is no JSON."""
    try:
        value = await work.loads(await request.body(), MAX_ELEMENTS)
    except InvalidJSON as wrong:
        raise InvalidRequest(Problem("", "json", {"expected": wrong.message})) from None
    return validated(value, model, error, {})


def tag_in_path(request: Request) -> Tag | None:
    """Return the tag that the path names; None where no Bento or model can be called so."""
    tag = Tag(request.path_params["name"], request.path_params["version"])
    return tag if is_tag(tag) else None


def page_of(request: Request, otherwise: int) -> tuple[int, int]:
    """Return ``start`` and ``count`` of a list. Raises InvalidRequest."""
    return _number(request.query_params, "start", 0), _number(request.query_params, "count", otherwise)


def _number(given: Mapping[str, str], name: str, otherwise: int) -> int:
    text = given.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequest(Problem(name, "type", {"expected": "int"}))
    return min(int(text), MAX_COUNT) if name == "count" else int(text)


def actor_of(request: Request) -> str:
    """The name of the request's API key, which events show as their actor."""
    return key_of(request).name


def key_of(request: Request) -> Key:
    """The request's API key."""
    key: Key = request.scope["state"]["key"]
    return key


def sees_values(request: Request) -> bool:
    """Return whether values of environment variables are shown: an admin sends them back with an update."""
    return key_of(request).role is Role.ADMIN


def base_url(request: Request) -> str:
    """The server's URL as the client reached it: at an address, a host name, or behind a proxy.

    The caller's ``Host`` decides, because the setting of the public URL cannot name all of these. A false one harms its
    sender alone: the URLs are in the answer to that request, nothing of them is stored, and no cache keeps the answer
    (``UnkeptAnswers``). A page of another site can send one by rebinding its name, and has no key. The scheme is that
    of the connection, or what a trusted proxy says; a ``Host`` that is none counts as the address of the socket.
    """
    return f"{request.url.scheme}://{request.url.netloc}"


def plain(value: Any) -> dict[str, Any]:
    """Return a mapping as a dictionary; an empty one for anything else."""
    return dict(value) if isinstance(value, Mapping) else {}
