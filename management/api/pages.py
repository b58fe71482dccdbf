"""Pages of a list: how many entries there are, and links to the neighbours of a page (RFC 8288)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from fastapi import Request

from management.api import PREFIX, schemas

_PAGE: Final = ("limit", "offset")
"""Parameters that say which page it is; the others are filters, which stay."""


def page_headers(
    request: Request, path: str, given: schemas.ListQuery | schemas.BentoListQuery, total: int
) -> dict[str, str]:
    """The headers of a page. Its links are relative, so that the Host header has no effect on them."""
    filters = "".join(
        f"&{name}={quote(value)}"
        for name in type(given).model_fields
        if name not in _PAGE and (value := request.query_params.get(name)) is not None
    )
    steps = {
        "next": given.offset + given.limit if given.offset + given.limit < total else None,
        "prev": max(0, given.offset - given.limit) if given.offset > 0 else None,
    }
    links = [
        f'<{PREFIX}/{path}?limit={given.limit}&offset={offset}{filters}>; rel="{name}"'
        for name, offset in steps.items()
        if offset is not None
    ]
    return {"X-Total-Count": str(total), **({"Link": ", ".join(links)} if links else {})}
