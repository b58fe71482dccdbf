"""What a replica sends back: an answer that is read piece by piece, or the messages of a websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp

from management.gateway.replica_errors import ConnectionBroken, ReplicaSilent, translated

EVENT_STREAM: Final = "text/event-stream"
"""Content type of server-sent events."""

WHOLE_BYTES: Final = 64 * 1024
"""Bytes of the largest answer that is read to its end before a byte of it is passed on."""

RawHeaders = tuple[tuple[bytes, bytes], ...]
"""Names and values of HTTP headers as they came."""


class ReplicaAnswer:
    """An answer whose headers have come."""

    def __init__(self, response: aiohttp.ClientResponse, ended: Callable[[], None]) -> None:
        """``ended`` is called once, when the answer is closed."""
        self._response, self._ended = response, ended
        self._whole = b""
        self._open = True

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> RawHeaders:
        """The headers."""
        return self._response.raw_headers

    async def read_small(self) -> None:
        """Read the body to its end where it says that it is small. Raises ConnectionBroken.

        While nothing of an answer is passed on, another replica may answer.
        """
        if 0 < (self._response.content_length or 0) <= WHOLE_BYTES:
            with translated():
                self._whole = await self._response.content.read()

    async def pieces(self, gap: float) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ConnectionBroken, and ReplicaSilent after ``gap`` seconds without a piece."""
        if self._whole:
            yield self._whole
            return
        content = self._response.content
        while True:
            try:
                async with asyncio.timeout(gap):  # outside: its TimeoutError is an OSError, as a broken connection is
                    with translated():
                        piece = await content.readany()
            except TimeoutError:
                raise ReplicaSilent(f"nothing came for {gap:g} s") from None
            if not piece:
                return
            yield piece

    def close(self) -> None:
        """End the exchange. An answer that was not read to its end takes its connection along."""
        if self._open:
            self._open = False
            self._response.close()
            self._ended()


class ReplicaSocket:
    """An open websocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, ended: Callable[[], None]) -> None:
        """``ended`` is called once, when the websocket is closed."""
        self._socket, self._ended = socket, ended
        self._open = True

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the replica chose."""
        return self._socket.protocol

    @property
    def close_code(self) -> int | None:
        """The code with which the websocket was closed; None while it is open, or where its connection broke."""
        return self._socket.close_code

    async def messages(self) -> AsyncIterator[str | bytes]:
        """The messages until the replica closes the websocket. Raises ConnectionBroken."""
        while True:
            message = await self._socket.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                yield message.data
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise ConnectionBroken(type(message.data).__name__)
            else:
                if self._socket.close_code in (None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE):
                    raise ConnectionBroken("the websocket broke")
                return

    async def send(self, message: str | bytes) -> None:
        """Send a message. Raises ConnectionBroken."""
        with translated():
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)

    async def close(self, code: int = aiohttp.WSCloseCode.GOING_AWAY) -> None:
        """Close the websocket."""
        if self._open:
            self._open = False
            try:
                await self._socket.close(code=code)
            finally:
                self._ended()
