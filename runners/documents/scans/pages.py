"""The interface of what reads pages that are pictures, and the one that keeps them as pictures."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Final, Protocol

from PIL import Image

from runners.documents.scans.layout import TextLine
from runners.errors import PayloadTooLarge
from runners.limits import MAX_BYTES

MAX_PICTURES: Final = 64 * 1024 * 1024
"""Bytes of one document's pages as PNG."""
MAX_SIDE: Final = 3072
"""Pixels of a picture's longer side: engines that read pictures reduce larger ones to it themselves."""


class PageReader(Protocol):
    """Reads pages, one after the other in order."""

    def read(self, image: Image.Image) -> str:
        """Return the text of a page, 8-bit RGB and upright, lines in reading order; empty where there is none."""

    def lines(self, image: Image.Image) -> list[TextLine]:
        """Return the same lines in no particular order, with their positions in pixels."""


class AsPictures:
    """Keeps pages as PNG, in order, for an engine that reads pictures itself."""

    def __init__(self) -> None:
        self.images: list[bytes] = []

    def read(self, image: Image.Image) -> str:
        """Keep the page and return no text. Raises PayloadTooLarge."""
        self.images.append(_small_png(image))
        if sum(map(len, self.images)) > MAX_PICTURES:
            raise PayloadTooLarge(f"the document's pictures may have {MAX_PICTURES:,} bytes at most, as PNG")
        return ""

    def lines(self, image: Image.Image) -> list[TextLine]:
        """Keep the page and return no lines. Raises PayloadTooLarge."""
        self.read(image)
        return []


def _small_png(image: Image.Image) -> bytes:
    """Encode with at most ``MAX_SIDE`` pixels a side, and fewer where noise makes the file too large."""
    scale = min(1.0, MAX_SIDE / max(image.size))
    while len(encoded := _png(image, scale)) > MAX_BYTES:
        scale *= 0.95 * math.sqrt(MAX_BYTES / len(encoded))
    return encoded


def _png(image: Image.Image, scale: float) -> bytes:
    width, height = (max(1, round(side * scale)) for side in image.size)
    smaller = image if scale == 1 else image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    file = BytesIO()
    smaller.save(file, "PNG", compress_level=1)
    return file.getvalue()
