"""Authentication by one key, for a service without the management API."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from pydantic import SecretStr
from starlette.types import Scope

from web.edge.middleware import Authenticate
from web.error_shape import ErrorResponse, error_response

OPEN: Final = frozenset({"/", "/docs", "/openapi.json", "/health", "/healthz", "/livez", "/readyz", "/metrics"})
"""Paths that need no key: documentation, probes, and Prometheus metrics."""
OPEN_FILES: Final = "/static_content/"
UNAUTHORIZED: Final = ErrorResponse(
    *error_response(401)[:3], ((b"www-authenticate", b'ApiKey realm="atelier", Bearer realm="atelier"'),)
)


def key_guard(key: SecretStr) -> Authenticate:
    """Return an authentication that requires this key in ``X-API-Key`` or ``Authorization: Bearer``; open paths pass.

    It compares digests in constant time. Guessing is infeasible, because the key has at least 16 characters.
    """
    expected = _digest(key.get_secret_value().encode())

    async def authenticate(scope: Scope) -> ErrorResponse | None:
        path = scope["edge.path"]
        if path in OPEN or path.startswith(OPEN_FILES):
            return None
        matches = [hmac.compare_digest(_digest(given), expected) for given in _given(scope)]
        return None if any(matches) else UNAUTHORIZED

    return authenticate


def _given(scope: Scope) -> list[bytes]:
    keys = []
    for name, value in scope["headers"]:
        scheme, _, token = value.strip().partition(b" ")
        if name == b"x-api-key":
            keys.append(value.strip())
        elif name == b"authorization" and scheme.lower() == b"bearer":
            keys.append(token.strip())
    return keys


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
