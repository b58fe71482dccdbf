"""How large an image may be, read from its header before anything is decoded; and how large a document may be."""

from __future__ import annotations

from typing import Final

from runners.errors import PayloadTooLarge

MAX_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of one encoded image."""

MAX_PIXELS: Final = 25_000_000
"""Most pixels of one image: 24 megapixels is the common camera."""

MAX_SIDE: Final = 10_000
"""Most pixels of one side."""

MAX_MEMORY: Final = 280_000_000
"""Most bytes that decoding one image may take at its peak, as its header lets foresee; 20 MB more are for the rest.

It binds before ``MAX_PIXELS`` does for WebP (from 23 megapixels, less for large files), for CMYK JPEG in several scans
(from 20), and for compressed TIFF whose strips or tiles are the size of the picture."""

MAX_PAGES: Final = 200
"""Most pages of one document."""

MAX_CHARACTERS: Final = 1_000_000
"""Most characters of one document, and of one text."""


def check_bytes(count: int) -> None:
    """Raises PayloadTooLarge."""
    if count > MAX_BYTES:
        raise PayloadTooLarge(f"An image may have {MAX_BYTES:,} bytes at most.")


def check_size(width: int, height: int) -> None:
    """Raises PayloadTooLarge; ValueError where a side is empty."""
    if width < 1 or height < 1:
        raise ValueError("empty")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise PayloadTooLarge(f"An image may have {MAX_PIXELS:,} pixels at most, and {MAX_SIDE:,} on a side.")


def check_memory(peak: int) -> None:
    """Raises PayloadTooLarge. ``peak`` is in bytes."""
    if peak > MAX_MEMORY:
        raise PayloadTooLarge("Decoding an image of this kind and size takes too much memory. A smaller one will do.")
