"""Before a server listens and after: whether its port is free, how it is reached, whether it answers."""

from __future__ import annotations

import socket
from http.client import HTTPConnection


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


def answers(host: str, port: int) -> bool:
    """Whether ``GET /health`` says yes; ``host`` as ``reached`` gives it."""
    connection = HTTPConnection(host.strip("[]"), port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
