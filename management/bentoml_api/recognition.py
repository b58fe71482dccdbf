"""Which requests are those of BentoML's client, and the role that each requires."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

from management.auth.access import TOKEN_HEADER
from management.bentoml_api import PREFIX
from management.domain.keys import Role

PAGE: Final = "/api_tokens"
"""Path of the page on which a person logs the command line in."""
CODE: Final = "/api/v1/auth/code"
"""Path at which the command line gets the code of a login."""
TOKEN: Final = "/api/v1/auth/token"  # noqa: S105 - a path
"""Path at which the command line asks for the token of its login."""
UPLOADS: Final = "/uploads"
"""Path of uploads whose URL is the permission."""
DOWNLOADS: Final = "/downloads"
"""Path of downloads whose URL is the permission."""
CONSOLES: Final = ("/deployments/", "/codespaces/")
"""Paths of the pages of deployments, which the client shows."""
_LOGIN: Final = frozenset({PAGE, CODE, TOKEN})
_OPEN: Final = frozenset({*_LOGIN, UPLOADS, DOWNLOADS})
_PULL: Final = re.compile(r"/api/v1/(bento|model)_repositories/[^/]+/(bentos|models)/[^/]+/presign_download_url\Z")
"""Paths that are changed, in the client's words, to read something."""
_ADMINS: Final = tuple(f"{PREFIX}/api/v1/{name}" for name in ("org_secrets", "api_tokens"))


def base_of(scope: Scope) -> str | None:
    """Return the section's root for a request of the client that is not below it; None for any other request.

    The client sends its header with each request, also with those to the models' own addresses, which stay there. Its
    login sends none, and its websockets go to the root of the server.
    """
    path: str = scope["path"]
    if path in _LOGIN or path.startswith(CONSOLES):
        return PREFIX
    is_client = any(name == TOKEN_HEADER for name, _ in scope["headers"])
    return PREFIX if is_client and path.startswith(("/api/", "/ws/")) else None


def role_for_client(method: str, path: str) -> Role | None:
    """Return the role that a request of the section requires; None for those that need no key."""
    inner = path.removeprefix(PREFIX)
    if inner in _OPEN or inner.startswith(CONSOLES):
        return None
    if path.startswith(_ADMINS):
        return Role.ADMIN
    reads = method in ("GET", "HEAD", "OPTIONS", "WEBSOCKET") or (method == "PATCH" and _PULL.match(inner))
    return Role.VIEWER if reads else Role.ADMIN
