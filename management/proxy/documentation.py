"""A model's own documentation at its ``/docs``: an interactive page that loads nothing from elsewhere.

It comes from the files of the model's Bento, so that reading it wakes no model. A Bento that serves ``/docs`` itself,
or whose files are not known, answers for itself. Like every path of a model, the page needs a key, unless the model's
address is open; a browser asks for it once, and sends it with the calls that the page makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import FileResponse, Response

from management.domain.bento import DOCS, Bento
from management.gateway.gateway import Gateway
from management.proxy.addresses import Address
from web.answers import large_answer
from web.documentation import KEY_SCHEME, STATIC_FILES, documentation_page, static_folder

OPENAPI: Final = f"{DOCS}/openapi.json"
"""Path of the document that the page shows."""
STATIC: Final = f"{DOCS}/static"
"""Folder of the page's scripts and styles."""
OWN_OPENAPI: Final = "/docs.json"
"""Path at which BentoML serves a Bento's document."""
OURS: Final = frozenset({DOCS, OPENAPI, *(f"{STATIC}/{name}" for name in STATIC_FILES)})
"""Every path of the documentation."""


async def documentation(gateway: Gateway, address: Address, method: str) -> Response | None:
    """Return the answer to a request for the documentation; None for one that goes to the model.

    Raises ManagementError.
    """
    if method != "GET" or address.path not in OURS:
        return None
    bento, files = await gateway.bento(address.model_id), static_folder()
    if bento is None or bento.has_docs or files is None or (address.path == OPENAPI and not bento.openapi):
        return None
    if address.path == OPENAPI:
        return await large_answer(_document(bento, address.prefix, needs_key=not gateway.is_open(address.model_id)))
    if address.path == DOCS:
        return _page(bento, address)
    return FileResponse(files / address.path.rpartition("/")[2])


def _page(bento: Bento, address: Address) -> Response:
    document = OPENAPI if bento.openapi else OWN_OPENAPI
    title = f"{address.model_id}: {bento.service} {bento.tag.version}"
    return documentation_page(title, address.prefix + document, address.prefix + STATIC)


def _document(bento: Bento, prefix: str, *, needs_key: bool) -> Mapping[str, Any]:
    """The Bento's document, whose paths are below the model's own address, and which says how to send a key."""
    components = bento.openapi.get("components")
    document = {
        **bento.openapi,
        "info": {"title": bento.service, "version": bento.tag.version},  # BentoML's shows pictures of other servers
        "servers": [{"url": prefix or "/"}],
    }
    if not needs_key:
        return document
    key = {KEY_SCHEME: {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    return {
        **document,
        "components": {**(components if isinstance(components, Mapping) else {}), "securitySchemes": key},
        "security": [{KEY_SCHEME: []}],
    }
