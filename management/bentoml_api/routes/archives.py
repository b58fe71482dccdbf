"""The answer with the archive of a Bento or a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from management.bentoml_api.stock import Stock
from management.control.repository.sending import DownloadPlaces
from management.domain.bento_tag import StoredKind, Tag
from web.edge.request_cycle import HEAD

TAR: Final = b"application/x-tar"
PIECE_SECONDS: Final = 60.0
"""Seconds in which a caller has to take a piece, of 1 MiB mostly. One who takes nothing at all is cut off earlier, by
``ATELIER_WRITE_SECONDS``."""

logger = logging.getLogger(__name__)


class ArchiveAnswer(Response):
    """An archive, of which no more than a piece is in memory; its length alone to a HEAD.

    It has a place from its first look at the files until it is sent, its caller has left, or its caller is too slow.
    Raises ManagementError before anything is sent.
    """

    def __init__(self, places: DownloadPlaces, stock: Stock, kind: StoredKind, tag: Tag) -> None:
        super().__init__()
        self._places, self._stock, self._kind, self._tag = places, stock, kind, tag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the archive."""
        while (await receive()).get("more_body", False):
            pass  # once the body is over, the outermost layer ends what a caller has left
        with self._places.taken():
            length, pieces = await self._stock.packed(self._kind, self._tag)
            async with aclosing(pieces):
                headers = [(b"content-type", TAR), (b"content-length", str(length).encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                if not scope.get(HEAD):
                    try:
                        await _send_all(pieces, send)
                    except TimeoutError:  # the outermost layer closes the connection of an answer that has no end
                        logger.warning("%s is not sent to its end: its reader is too slow", self._tag)
                        return
                await send({"type": "http.response.body", "body": b""})


async def _send_all(pieces: AsyncIterator[bytes], send: Send) -> None:
    """Send the pieces. Raises TimeoutError for one that is not taken in time."""
    async for piece in pieces:
        async with asyncio.timeout(PIECE_SECONDS):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
