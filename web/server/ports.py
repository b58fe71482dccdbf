"""Before a server listens and after: whether its port is free, how it is reached, whether it answers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from web.json import strict_json
from web.json.strict_json import InvalidJSON

MOST_BYTES: Final = 64 * 1024
"""Of an answer about the health."""


def check_port(host: str, port: int) -> None:
    """Raises OSError when a server could not listen there."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def reached(host: str) -> str:
    """The host as it stands in a URL that a caller can use: the unspecified address is reached through loopback."""
    found = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what somebody wrote
    return f"[{found}]" if ":" in found else found


def health(host: str, port: int) -> tuple[int, Mapping[str, Any]]:
    """The status and the object that ``GET /health`` gives; ``host`` as ``reached`` gives it. Status 0 for nobody."""
    connection = HTTPConnection(host.strip("[]"), port, timeout=10)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        told = strict_json.loads(answer.read(MOST_BYTES))
        return answer.status, told if isinstance(told, dict) else {}
    except (OSError, HTTPException, InvalidJSON):
        return 0, {}
    finally:
        connection.close()


def answers(host: str, port: int) -> bool:
    """Whether ``GET /health`` says yes."""
    return health(host, port)[0] == 200
