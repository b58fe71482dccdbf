"""The key that a service without the management asks its callers for."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from pydantic import SecretStr
from starlette.types import Scope

from web.edge.middleware import Guard
from web.error_shape import Refusal, refusal

OPEN: Final = frozenset({"/", "/docs", "/openapi.json", "/health", "/healthz", "/livez", "/readyz", "/metrics"})
"""Paths that need no key: documentation, probes, and the counts that Prometheus reads."""
OPEN_FILES: Final = "/static_content/"
UNAUTHORIZED: Final = Refusal(
    *refusal(401)[:3], ((b"www-authenticate", b'ApiKey realm="atelier", Bearer realm="atelier"'),)
)


def key_guard(key: SecretStr) -> Guard:
    """Refuse requests without this key in ``X-API-Key`` or ``Authorization: Bearer``; open paths pass.

    Digests are compared, in constant time. The key has at least 16 characters, so that guessing it is hopeless.
    """
    expected = _digest(key.get_secret_value().encode())

    async def guard(scope: Scope) -> Refusal | None:
        path = scope["edge.path"]
        if path in OPEN or path.startswith(OPEN_FILES):
            return None
        matches = [hmac.compare_digest(_digest(given), expected) for given in _given(scope)]
        return None if any(matches) else UNAUTHORIZED

    return guard


def _given(scope: Scope) -> list[bytes]:
    found = []
    for name, value in scope["headers"]:
        scheme, _, token = value.strip().partition(b" ")
        if name == b"x-api-key":
            found.append(value.strip())
        elif name == b"authorization" and scheme.lower() == b"bearer":
            found.append(token.strip())
    return found


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
