"""A model's own address: ``/models/{model_id}/...``, or ``{model_id}.models.HOST`` for pages with absolute links."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.types import Scope

from management.urls import ADDRESSES
from web.edge.sections import BY_HOST

PREFIX: Final = ADDRESSES
"""Path of the section."""
MODEL_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z", re.ASCII)
"""Form of an id."""
_HOST: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9_-]{0,62})\.models\.[A-Za-z0-9.-]+(?::[0-9]{1,5})?\Z")
_PLAIN_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")


@dataclass(frozen=True)
class Address:
    """Where in a model's own address a request goes."""

    model_id: str
    path: str
    """The path below the model's root, decoded."""
    target: str
    """The same path with the query, percent-encoded."""
    prefix: str
    """What stands before the model's root in the paths that the caller sees; empty where the host names the model."""


def base_by_host(public_url: str) -> Callable[[Scope], str | None]:
    """Return a function that gives ``/models/{model_id}`` for a request whose host names a model, else None.

    The host of ``public_url`` is the server's own, whatever it looks like.
    """
    own = urlsplit(public_url).netloc.lower().encode()

    def base_of(scope: Scope) -> str | None:
        match = _HOST.match(given := host(scope))
        return None if match is None or given.lower() == own else f"{PREFIX}/{match[1].decode().lower()}"

    return base_of


def host(scope: Scope) -> bytes:
    """Return the request's ``Host``; empty when it has none, or several."""
    values = [value for name, value in scope["headers"] if name == b"host"]
    return values[0] if len(values) == 1 else b""


def plain_host(scope: Scope) -> str | None:
    """Return the request's ``Host`` if a model may build links with it; None otherwise."""
    given = host(scope)
    return given.decode() if _PLAIN_HOST.match(given) else None


def address_of(scope: Scope) -> Address | None:
    """Return where a request of the section goes; None for a path that is no model's."""
    _, _, model_id, *rest = (*scope["path"].split("/", 3), "")[:4]
    if not MODEL_ID.match(model_id):
        return None
    base = f"{PREFIX}/{model_id}"
    raw = scope.get("raw_path", quote(scope["path"]).encode())
    below = raw[len(base) :]
    # Percent-encoded letters, which no client needs. After an encoded slash, the rest could read as another host.
    if not raw.startswith(base.encode()) or below[:1] not in (b"", b"/"):
        return None
    target = (below or b"/").decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    return Address(
        model_id=model_id,
        path="/" + "".join(rest),
        target=f"{target}?{query}" if query else target,
        prefix="" if scope.get(BY_HOST) else base,
    )
