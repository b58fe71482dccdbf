"""URLs that a secret may be sent to: over TLS, or on this machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = "localhost"
"""Host name of this machine."""


def private(url: str) -> str:
    """Return the URL without a final slash. Raises ValueError when it is not confidential, or not a base URL."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError("must begin with https://")
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise ValueError("must be a host's URL, without a user, a query or a fragment")
    _ = parts.port  # raises ValueError for an invalid port
    return url.rstrip("/")


def _is_here(host: str | None) -> bool:
    if host == LOOPBACK:
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
