"""Pictures of pages: one in most files, and as many as there are in a TIFF."""

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
    """Raises what ``images.decode``, ``fax.decode`` and ``pages`` raise, and InvalidDocument."""
    texts = [pages.read(image) for image in _decoded(data)]
    return Document("\n\n".join(filter(None, (text.strip() for text in texts))), len(texts))


def _decoded(data: bytes) -> Iterator[Image.Image]:
    for page in _pages(data):
        with fax.decode(page) if fax.is_fax(page) else decode.decode(page) as image:
            yield image


def _pages(data: bytes) -> Iterator[bytes]:
    """The file itself; for a TIFF, a copy for each page, in which that page is the first."""
    if data[:4] not in {b"II*\0", b"MM\0*"}:
        yield data
        return
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    for directory in _directories(data, order):
        yield data[:4] + struct.pack(order + "L", directory) + data[8:]


def _directories(data: bytes, order: str) -> list[int]:
    """The positions of the pages' directories: no more than allowed, and none twice, as loops have them."""
    found: list[int] = []
    seen: set[int] = set()
    try:
        (position,) = struct.unpack_from(order + "L", data, 4)
        while position and len(found) <= MAX_PAGES:
            if position in seen or len(seen) > 2 * MAX_PAGES:
                raise InvalidDocument(DAMAGED)
            seen.add(position)
            is_copy, following = _directory(data, order, position)
            found += [] if is_copy else [position]
            position = following
    except struct.error:
        raise InvalidDocument(DAMAGED) from None
    if len(found) > MAX_PAGES:
        raise PayloadTooLarge(TOO_MANY_PAGES)
    return found


def _directory(data: bytes, order: str, position: int) -> tuple[bool, int]:
    """Whether it is a smaller copy's, and the position of the one that follows it."""
    (count,) = struct.unpack_from(order + "H", data, position)
    (following,) = struct.unpack_from(order + "L", data, position + 2 + 12 * count)
    for entry in range(position + 2, position + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", data, entry)
        if tag == SUBFILE and kind == 4 and values == 1:
            return bool(struct.unpack_from(order + "L", data, entry + 8)[0] & 1), following
    return False, following
