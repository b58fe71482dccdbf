"""Callers' addresses, as they may be logged and counted: a trusted proxy may pass on whatever it was sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

LONGEST: Final = 45
"""Characters of an IP address."""
UNKNOWN: Final = "unknown"
_HOST_BITS: Final = 64
"""Of an IPv6 address: one subscriber has all of these."""


def shown(client: Sequence[Any] | None) -> str | None:
    """The address of an ASGI ``client`` or a socket's peer; None where there is none, such as on a unix socket."""
    if not isinstance(client, (tuple, list)) or not client:
        return None
    text = str(client[0])
    return text if len(text) <= LONGEST and text.isascii() and text.isprintable() else UNKNOWN


def block(client: Sequence[Any] | None) -> str:
    """What one caller can come from: an IPv4 address, or the network of an IPv6 address; empty where there is none."""
    text = shown(client)
    if text is None:
        return ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS))
