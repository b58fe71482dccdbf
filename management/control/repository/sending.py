"""The archive of a Bento or stored model, read in a thread as fast as it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from management.control.repository.receiving import translated
from management.domain.bento_tag import StoredKind
from management.errors import DownloadsBusy
from management.packaging.archives.pack import Pack, pack
from management.packaging.archives.refusals import ArchiveRefused

SEND_BYTES: Final = 1024 * 1024
"""Bytes that are gathered for one piece, at least: each comes from a thread."""
RETRY_SECONDS: Final = 10
"""Seconds after which a caller without a place should try again."""


class DownloadPlaces:
    """The downloads that may be under way in one worker: each holds a thread, an open file and some MiB."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place for a download. Raises DownloadsBusy when there is none left."""
        if self._taken >= self._most:
            raise DownloadsBusy({"downloads": self._most}, retry_after=RETRY_SECONDS)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


async def packed(folder: Path, kind: StoredKind) -> tuple[int, AsyncGenerator[bytes]]:
    """Return the bytes of the folder's archive, and its pieces.

    Raises InvalidBento or InvalidModelFiles for what no archive carries, and OSError without the folder. The pieces
    raise ContentChanged and OSError: what was sent by then is not the archive.
    """
    try:
        found = await asyncio.to_thread(pack, folder, kind)
    except ArchiveRefused as refused:
        raise translated(refused, kind) from None
    return found.length, _sent(found)


async def _sent(found: Pack) -> AsyncGenerator[bytes]:
    pieces = _joined(found.pieces())
    thread = ThreadPoolExecutor(1, thread_name_prefix="bento-download")  # it closes the file after a read
    run = asyncio.get_running_loop().run_in_executor
    try:
        while piece := await run(thread, next, pieces, b""):
            yield piece
    finally:
        closing = run(thread, pieces.close)
        thread.shutdown(wait=False)
        await asyncio.shield(closing)


def _joined(pieces: Iterator[bytes]) -> Generator[bytes]:
    """Yield larger pieces: the archive of many small files has many headers."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) >= SEND_BYTES:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)
