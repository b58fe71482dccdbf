"""The size limits of images, checked on their header before decoding, and of documents."""

from __future__ import annotations

from typing import Final

from runners.errors import PayloadTooLarge

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the largest encoded image."""

MAX_PIXELS: Final = 25_000_000
"""Pixels of the largest image: common cameras have 24 megapixels."""

MAX_SIDE: Final = 10_000
"""Pixels of the longest side of an image."""

MAX_MEMORY: Final = 280_000_000
"""Bytes that decoding one image may take at its peak, estimated from its header; 20 MB more are for everything else.

This limit applies before ``MAX_PIXELS`` for WebP (from 23 megapixels, fewer for large files), for CMYK JPEG in several
scans (from 20), and for compressed TIFF whose strips or tiles are as large as the picture."""

MAX_PAGES: Final = 200
"""Pages of the longest document."""

MAX_CHARACTERS: Final = 1_000_000
"""Characters of the longest document, and of the longest text."""


def check_bytes(count: int) -> None:
    """Raise PayloadTooLarge for more than ``MAX_BYTES``."""
    if count > MAX_BYTES:
        raise PayloadTooLarge(f"An image may have {MAX_BYTES:,} bytes at most.")


def check_size(width: int, height: int) -> None:
    """Raise PayloadTooLarge above the limits of pixels or sides, ValueError for an empty side."""
    if width < 1 or height < 1:
        raise ValueError("empty")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise PayloadTooLarge(f"An image may have {MAX_PIXELS:,} pixels at most, and {MAX_SIDE:,} on a side.")


def check_memory(peak: int) -> None:
    """Raise PayloadTooLarge if ``peak``, in bytes, is above ``MAX_MEMORY``."""
    if peak > MAX_MEMORY:
        raise PayloadTooLarge("Decoding an image of this kind and size takes too much memory. A smaller one will do.")
