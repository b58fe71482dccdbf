"""Which headers pass between a caller and a model, and which do not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from management.auth.access import TOKEN_HEADER
from management.errors import InvalidRequest, Problem
from management.proxy.addresses import Address, plain_host
from web.error_shape import Headers

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers between two neighbours (RFC 9110, 7.6.1)."""
OURS: Final = frozenset(
    {b"authorization", b"expect", b"forwarded", b"host", b"via", b"x-api-key", b"x-real-ip", TOKEN_HEADER}
)
"""Headers of a request that are for this server alone, or that it makes itself."""
OUR_PREFIXES: Final = (b"x-atelier-", b"x-forwarded-")
REPLACED: Final = frozenset({b"date", b"server"})
"""Headers of an answer that this server makes itself."""
OF_HOST: Final = frozenset(
    {b"alt-svc", b"clear-site-data", b"public-key-pins", b"service-worker-allowed", b"strict-transport-security"}
)
"""Headers of an answer that hold for all of its host, or let a script do so: for a model they may be its own host's."""
WEBSOCKET: Final = b"sec-websocket-"
"""Prefix of the headers of a websocket's handshake, which each of the two connections has for itself."""
BODY: Final = frozenset({b"content-length"})
"""Headers of a body, which a websocket's handshake has not."""
COOKIE: Final = b"cookie"
SET_COOKIE: Final = b"set-cookie"
_CONTROL: Final = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
_DOMAIN: Final = re.compile(rb";\s*domain\s*=[^;]*", re.IGNORECASE)


def for_replica(scope: Scope, address: Address) -> list[tuple[str, str]]:
    """Return the headers of the request to the replica. Raises InvalidRequest for one that HTTP does not allow.

    Keys stay here. Cookies pass only where the host names the model: below one path all models share their cookies.
    """
    dropped = _named(scope["headers"]) | (BODY if scope["type"] == "websocket" else frozenset())
    passed = [
        (name.decode("latin-1"), _text(name, value))
        for name, value in scope["headers"]
        if name not in HOP_BY_HOP
        and name not in OURS
        and name not in dropped
        and not name.startswith((*OUR_PREFIXES, WEBSOCKET))
        and (name != COOKIE or not address.prefix)
    ]
    return [*passed, *_about_caller(scope, address)]


def _text(name: bytes, value: bytes) -> str:
    """Return a header's value as the text that the HTTP client sends as UTF-8."""
    if _CONTROL.search(value):
        raise InvalidRequest(Problem(name.decode("latin-1"), "header"))
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _about_caller(scope: Scope, address: Address) -> list[tuple[str, str]]:
    """Return the headers with which a model makes links to itself."""
    made = [("X-Forwarded-Proto", "https" if scope.get("scheme") in ("https", "wss") else "http")]
    if host := plain_host(scope):
        made += [("Host", host), ("X-Forwarded-Host", host)]
    if address.prefix:
        made.append(("X-Forwarded-Prefix", address.prefix))
    return made


def for_caller(headers: Iterable[tuple[bytes, bytes]], scope: Scope, address: Address) -> Headers:
    """Return the headers of the answer to the caller; links in them lead to the model's own address."""
    lowered = [(name.lower(), value) for name, value in headers]
    dropped = _named(lowered)
    passed: Headers = []
    for name, value in lowered:
        if name in HOP_BY_HOP or name in REPLACED or name in dropped or name.startswith(b"x-atelier-"):
            continue
        if name in OF_HOST and address.prefix:
            continue
        if name == SET_COOKIE:
            if not address.prefix:
                passed.append((name, _DOMAIN.sub(b"", value)))
        elif name in (b"location", b"content-location"):
            passed.append((name, _below(value, scope, address)))
        else:
            passed.append((name, value))
    return passed


def _named(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the headers that ``Connection`` names as being between two neighbours."""
    values = (value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def _below(link: bytes, scope: Scope, address: Address) -> bytes:
    """Return a link of the model as the caller has to follow it. Links to other servers stay as they are."""
    try:
        parts = urlsplit(link.decode("latin-1"))
    except ValueError:
        return link
    ours = not parts.netloc or parts.netloc == plain_host(scope)
    path = parts.path or ("/" if parts.netloc else "")
    if not ours or not path.startswith("/"):
        return link
    # A model that minds X-Forwarded-Prefix has put it into its links already.
    prefix = "" if f"{path}/".startswith(f"{address.prefix}/") else address.prefix
    query = f"?{parts.query}" if parts.query else ""
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return f"{prefix}{path}{query}{fragment}".encode("latin-1")
