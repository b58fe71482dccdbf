"""Keys from a browser, which sends them by Basic authentication: the password is the key, the name is ignored.

A browser sends such a password with each request to the same server, also with those that another site makes it send.
Those are refused; a link that a person follows is not. Over plain HTTP to another machine a browser does not say that a
GET comes from another site, so that it cannot be refused.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

CHALLENGES: Final = ((b"www-authenticate", b'Basic realm="atelier", charset="UTF-8"'),)
"""Header of a refusal that makes a browser ask for a password."""


def asks(scope: Scope) -> bool:
    """Return whether a person waits for a page."""
    return b"text/html" in _header(scope, b"accept")


def password(scope: Scope) -> str | None:
    """Return the password; None without one, and an empty text, which is a wrong key, for a malformed header."""
    scheme, _, given = _header(scope, b"authorization").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(given.strip(), validate=True).decode("latin-1").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def is_foreign(scope: Scope) -> bool:
    """Return whether another site made the browser send this request with its password."""
    if password(scope) is None:
        return False
    if _header(scope, b"sec-fetch-site") in (b"cross-site", b"same-site"):
        return not (scope["method"] == "GET" and _header(scope, b"sec-fetch-mode") == b"navigate")
    origin = _header(scope, b"origin").decode("latin-1")
    return bool(origin) and urlsplit(origin).netloc != _header(scope, b"host").decode("latin-1")


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
