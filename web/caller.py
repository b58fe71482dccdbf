"""Who sent the request that is being served: places that callers share are shared fairly among these."""

from __future__ import annotations

from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from starlette.types import Scope

NETWORK_BITS: Final = 64
"""Bits of an IPv6 address that tell one subscriber from another: the others are the subscriber's own to choose."""

caller: Final[ContextVar[str]] = ContextVar("caller", default="")
"""The API key's identity where the key is known, else the client's address; empty where there is no client.

The outermost layer sets it; between the processes of one server it travels with each call.
"""


def caller_of(scope: Scope) -> str:
    """The caller as the scope names it, once the door has judged it."""
    key: Any = scope.get("state", {}).get("key")
    if key is not None:
        return f"key {key.id}"
    client = scope.get("client")
    return _network(client[0]) if client else ""


def _network(address: str) -> str:
    """The address, or the network of an IPv6 address; what is no address stays as it is."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address) or found.ipv4_mapped:
        return str(getattr(found, "ipv4_mapped", None) or found)
    return str(IPv6Address(int(found) >> NETWORK_BITS << NETWORK_BITS))
