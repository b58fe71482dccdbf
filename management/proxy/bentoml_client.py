"""What BentoML's own client needs, so that it finds a model's tasks below a path.

The client's ``submit`` puts the route in place of the whole path of its address; its other calls append the route. The
schema that the client reads therefore names a task by its whole path, and a path that begins with the model's prefix
twice means what it means without the second one. Measured with bentoml 1.4.39.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from starlette.types import Scope

from management.proxy.addresses import Address
from web.json import strict_json
from web.json.strict_json import InvalidJSON

SCHEMA: Final = "/schema.json"
MAX_SCHEMA_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the largest schema that is changed; a larger one passes as it is."""
_AGENT: Final = b"BentoML HTTP Client/"


def is_client(scope: Scope) -> bool:
    """Return whether BentoML's client sends the request."""
    return any(name == b"user-agent" and value.startswith(_AGENT) for name, value in scope["headers"])


def without_second_prefix(address: Address) -> Address:
    """Return the address without a second prefix in its path."""
    if not address.prefix or not address.path.startswith(f"{address.prefix}/"):
        return address
    size = len(address.prefix)  # a model's id has no letter that is percent-encoded
    return replace(address, path=address.path[size:], target=address.target[size:])


def with_whole_paths(schema: bytes, prefix: str) -> bytes:
    """Return a service's schema, in which tasks have their whole paths. Anything else is returned as it is."""
    try:
        value = strict_json.loads(schema)
    except InvalidJSON:
        return schema
    routes = value.get("routes") if isinstance(value, dict) else None
    if not isinstance(routes, list):
        return schema
    return strict_json.dumps({**value, "routes": [_whole(route, prefix) for route in routes]})


def _whole(route: Any, prefix: str) -> Any:
    if not isinstance(route, dict) or not route.get("is_task") or not isinstance(route.get("route"), str):
        return route
    return {**route, "route": prefix + route["route"]}
