"""Who sent the request that is being served: places that callers share are shared fairly among these."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from starlette.types import Scope

from web import addresses

caller: Final[ContextVar[str]] = ContextVar("caller", default="")
"""The API key's identity where the key is known, else the client's address; empty where there is no client.

The outermost layer sets it; between the processes of one server it travels with each call.
"""


def caller_of(scope: Scope) -> str:
    """The caller as the scope names it, once the door has judged it."""
    key: Any = scope.get("state", {}).get("key")
    if key is not None:
        return f"key {key.id}"
    return addresses.block(scope.get("client"))
