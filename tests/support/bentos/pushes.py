"""Uploads in parts, as BentoML's own client makes them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from management.domain.bento_tag import StoredKind, Tag
from management.domain.clock import Clock
from management.packaging.build import BentoHome
from management.packaging.pushes.assembly import Assembly
from management.packaging.pushes.parts import PartUpload
from management.packaging.pushes.uploads import PendingUploads
from management.settings import BentoSettings
from tests.support.bentos.uploading import pushed_through


class Ahead(Clock):
    """A clock that runs ahead of the machine's, which gives files their times."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def unix(self) -> float:
        return time.time() + self.seconds


def begun(home: BentoHome, tag: Tag, kind: StoredKind = StoredKind.MODEL) -> str:
    """Return the id of a new upload."""
    return PendingUploads(home).start(kind, tag)


def put(home: BentoHome, upload_id: str, number: int, content: bytes, limits: BentoSettings | None = None) -> str:
    """Put a part into an upload, and return its etag."""
    part = PartUpload(home, limits or BentoSettings(), PendingUploads(home).get(upload_id), number)
    return pushed_through(part, content, home)


def assembly(home: BentoHome, upload_id: str, parts: list[tuple[int, str]]) -> Assembly:
    """Return the completion of an upload."""
    return Assembly(home, BentoSettings(), PendingUploads(home).get(upload_id), parts)


async def pieces(content: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    """Yield the content as it comes from a network."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
