"""Client addresses in a form that is safe to log and count: a trusted proxy may forward arbitrary text."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

MAX_ADDRESS_CHARACTERS: Final = 45
"""Characters of the longest IP address that is logged."""
UNKNOWN: Final = "unknown"
_SUBSCRIBER_BITS: Final = 64
"""Bits of an IPv6 address that belong to one subscriber."""


def shown(client: Sequence[Any] | None) -> str | None:
    """Return the address of an ASGI ``client`` or a socket's peer; None on a unix socket.

    Text that is too long or unprintable becomes ``UNKNOWN``.
    """
    if not isinstance(client, (tuple, list)) or not client:
        return None
    text = str(client[0])
    return text if len(text) <= MAX_ADDRESS_CHARACTERS and text.isascii() and text.isprintable() else UNKNOWN


def block(client: Sequence[Any] | None) -> str:
    """Return the IPv4 address, or the /64 network of the IPv6 address, that counts as one client; empty if unknown."""
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
    return str(ipaddress.IPv6Address(int(address) >> _SUBSCRIBER_BITS << _SUBSCRIBER_BITS))
