"""Multipart bodies: text fields and files, with plain or extended (RFC 8187) file names."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from runners.contract import MAX_ITEMS
from runners.errors import InvalidInput

MAX_FIELDS: Final = 8
MAX_FIELD_BYTES: Final = 4096
_BOUNDARY: Final = re.compile(r"""(?i);\s*boundary\s*=\s*("[^"]|[^";\s])""")
_EXTENDED: Final = re.compile(rb"""(?i);\s*filename\*\s*=\s*"?([A-Za-z0-9!#$%&+^_`{}~-]*)'[^';"]*'([^;"\s]*)"?""")


class _Parser(MultiPartParser):
    """Starlette's parser, which alone would treat a file with only an extended file name (RFC 8187) as text."""

    def on_headers_finished(self) -> None:
        """Add the plain file name to a part that has only the extended one."""
        disposition = self._current_part.content_disposition or b""
        extended = _EXTENDED.search(disposition) if b"*" in disposition else None
        if extended and b"filename" not in parse_options_header(disposition)[1]:
            name = _plain(*extended.groups())
            self._current_part.content_disposition = disposition + b'; filename="' + name + b'"'
        super().on_headers_finished()


def _plain(charset: bytes, coded: bytes) -> bytes:
    """Return the name in UTF-8, safe between quotes."""
    try:
        name = unquote_to_bytes(coded).decode(charset.decode("ascii") or "utf-8", errors="replace")
    except LookupError:
        name = unquote_to_bytes(coded).decode("latin-1")
    return re.sub(r'[\x00-\x1f\x7f"\\]', "_", name).encode(errors="replace")


@asynccontextmanager
async def multipart(request: Request) -> AsyncIterator[FormData]:
    """Parse a multipart body; its temporary files are deleted at the end of the block. Raises InvalidInput."""
    _check_boundary(request)
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=MAX_ITEMS + 1,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (HTTPException, MultiPartException, FormParserError) as error:
        raise InvalidInput("the multipart body cannot be read") from error
    try:
        yield form
    finally:
        await form.close()


def files_of(form: FormData, name: str) -> list[UploadFile]:
    """Return the files in the fields of that name, without text fields."""
    return [part for part in form.getlist(name) if isinstance(part, UploadFile)]


def instead_of(form: FormData, name: str) -> str:
    """Return the end of an error message that names the fields with misplaced files; empty if there are none."""
    misplaced = {key for key, part in form.multi_items() if isinstance(part, UploadFile)} - {name}
    return f"; send the file as {name!r}, not as {', '.join(sorted(misplaced))[:100]!r}" if misplaced else ""


def _check_boundary(request: Request) -> None:
    if not _BOUNDARY.search(request.headers.get("content-type", "")):
        raise InvalidInput(
            "the Content-Type multipart/form-data has no boundary; let the HTTP client set this header by itself"
        )
