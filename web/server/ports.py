"""A server's port: whether it is free, how a client reaches it, and whether the server answers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from web.json import strict_json
from web.json.strict_json import InvalidJSON

MAX_HEALTH_BYTES: Final = 64 * 1024
"""Bytes of the largest health response that is read."""


def check_port(host: str, port: int) -> None:
    """Raise OSError if a server cannot listen on the address."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def reached(host: str) -> str:
    """Return the host for a URL that a client can use: the unspecified address is reached through loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the operator's choice
    return f"[{reachable}]" if ":" in reachable else reachable


def health(host: str, port: int) -> tuple[int, Mapping[str, Any]]:
    """Return status and JSON object of ``GET /health``; status 0 if no server answers. ``host`` is from ``reached``."""
    connection = HTTPConnection(host.strip("[]"), port, timeout=10)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        body = strict_json.loads(response.read(MAX_HEALTH_BYTES))
        return response.status, body if isinstance(body, dict) else {}
    except (OSError, HTTPException, InvalidJSON):
        return 0, {}
    finally:
        connection.close()


def answers(host: str, port: int) -> bool:
    """Return whether ``GET /health`` answers 200."""
    return health(host, port)[0] == 200
