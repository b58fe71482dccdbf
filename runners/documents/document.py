"""The result of reading a document, and the limits on its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runners.limits import MAX_CHARACTERS, MAX_PAGES

TOO_MANY_PAGES: Final = f"a document may have {MAX_PAGES} pages at most"
TOO_LONG: Final = f"a document may have {MAX_CHARACTERS:,} characters at most"


@dataclass(frozen=True)
class Document:
    """The text of a document in reading order; ``pages`` is 1 where its format has none.

    Where the request wants pictures instead of OCR, ``images`` are the pages without a text layer: PNG, in order.
    """

    text: str
    pages: int
    title: str | None = None
    images: tuple[bytes, ...] = ()
