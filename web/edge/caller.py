"""The identity of the client of the current request; shared capacity is divided fairly between these identities."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from starlette.types import Scope

from web import addresses

caller: Final[ContextVar[str]] = ContextVar("caller", default="")
"""The API key's identity if the key is known, else the client's address; empty if there is no client.

The outermost layer sets it. It travels with each call between the processes of one server.
"""


def caller_of(scope: Scope) -> str:
    """Return the client's identity from the scope, once the request has been authenticated."""
    key: Any = scope.get("state", {}).get("key")
    if key is not None:
        return f"key {key.id}"
    return addresses.block(scope.get("client"))
