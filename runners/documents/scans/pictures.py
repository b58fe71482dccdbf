"""Pictures of pages: one in most files, several in a TIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from PIL import Image

from runners.documents.document import TOO_MANY_PAGES, Document
from runners.documents.scans import fax
from runners.documents.scans.pages import PageReader
from runners.errors import InvalidDocument, PayloadTooLarge
from runners.images import decode
from runners.limits import MAX_PAGES

SUBFILE: Final = 254
"""The TIFF tag whose lowest bit marks a smaller copy of another page."""

DAMAGED: Final = "the TIFF's pages are damaged"


def read(data: bytes, pages: PageReader) -> Document:
    """Read every page. Raises InvalidDocument, and what ``images.decode``, ``fax.decode`` and ``pages`` raise."""
    texts = [pages.read(image) for image in _decoded(data)]
    return Document("\n\n".join(filter(None, (text.strip() for text in texts))), len(texts))


def _decoded(data: bytes) -> Iterator[Image.Image]:
    for page in _pages(data):
        with fax.decode(page) if fax.is_fax(page) else decode.decode(page) as image:
            yield image


def _pages(data: bytes) -> Iterator[bytes]:
    """Yield the file itself; for a TIFF, a copy for each page with that page first."""
    if data[:4] not in {b"II*\0", b"MM\0*"}:
        yield data
        return
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    for directory in _directories(data, order):
        yield data[:4] + struct.pack(order + "L", directory) + data[8:]


def _directories(data: bytes, order: str) -> list[int]:
    """Return the positions of the pages' directories. Raises InvalidDocument for a loop, and PayloadTooLarge."""
    directories: list[int] = []
    visited: set[int] = set()
    try:
        (position,) = struct.unpack_from(order + "L", data, 4)
        while position and len(directories) <= MAX_PAGES:
            if position in visited or len(visited) > 2 * MAX_PAGES:
                raise InvalidDocument(DAMAGED)
            visited.add(position)
            is_copy, following = _directory(data, order, position)
            directories += [] if is_copy else [position]
            position = following
    except struct.error:
        raise InvalidDocument(DAMAGED) from None
    if len(directories) > MAX_PAGES:
        raise PayloadTooLarge(TOO_MANY_PAGES)
    return directories


def _directory(data: bytes, order: str, position: int) -> tuple[bool, int]:
    """Return whether a directory is that of a smaller copy, and the position of the next one."""
    (count,) = struct.unpack_from(order + "H", data, position)
    (following,) = struct.unpack_from(order + "L", data, position + 2 + 12 * count)
    for entry in range(position + 2, position + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", data, entry)
        if tag == SUBFILE and kind == 4 and values == 1:
            return bool(struct.unpack_from(order + "L", data, entry + 8)[0] & 1), following
    return False, following
