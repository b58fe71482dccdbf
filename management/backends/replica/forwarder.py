"""Forwards what a replica is asked to a server of the same machine: for Bentos of several services.

It is loaded by path, beside ``host.py``, and imports nothing of this project. Requests and answers stream both ways;
a websocket is connected to the server until either side closes it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from yarl import URL

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers between two neighbours (RFC 9110, 7.6.1)."""
SERVER: Final = "http://127.0.0.1"
"""Address of the server; requests go through its unix socket, and have the caller's ``Host``."""
UNREACHABLE: Final = 502
"""Status where the server does not answer: the gateway counts it as a failure of the replica."""
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a websocket's largest message."""
UNSENT: Final = {1005: 1000, 1006: 1001, 1015: 1001}
"""Close codes that say how a websocket ended and may not be sent, and what is sent instead."""
ABNORMAL: Final = 1006
"""Close code of a websocket whose connection broke."""
BROKEN: Final = 1011
"""Close code of a websocket whose server has ended."""


class Forwarder:
    """ASGI application that forwards everything to the server."""

    def __init__(self, door: str) -> None:
        """Forward to the unix socket ``door``, on which the server listens."""
        self._door = door
        self._session: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward the request unchanged, and its answer as it comes."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self._forward(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self._door, limit=0),
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        self._session._retry_connection = False
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward a request, unless its caller leaves: then the server's work ends, too."""
        first, received = await receive(), asyncio.Event()
        if first.get("more_body", False):
            body: Any = _pieces(first, receive, received)
        else:
            body = first.get("body", b"") or None
            received.set()
        left = asyncio.create_task(_left(received, receive))
        answering = asyncio.create_task(self._answer(scope, body, send))
        try:
            await asyncio.wait((left, answering), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            left.cancel()
            answering.cancel()
            await asyncio.gather(left, answering, return_exceptions=True)

    async def _answer(self, scope: Any, body: Any, send: Any) -> None:
        try:
            answer = await self._session.request(
                scope["method"], _url(scope), data=body, headers=_sent(scope["headers"]), allow_redirects=False
            )
        except aiohttp.ClientError:
            await _refuse(send, "http", UNREACHABLE)
            return
        try:
            await _send_answer(answer, send)
        finally:
            answer.close()

    async def _connect(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            socket = await self._session.ws_connect(
                _url(scope),
                headers=[(k, v) for k, v in _sent(scope["headers"]) if not k.lower().startswith("sec-websocket-")],
                protocols=scope.get("subprotocols", ()),
                max_msg_size=MAX_MESSAGE_BYTES,
            )
        except aiohttp.WSServerHandshakeError as refused:
            await _refuse(send, "websocket.http", refused.status)
            return
        except aiohttp.ClientError:
            await _refuse(send, "websocket.http", UNREACHABLE)
            return
        await send({"type": "websocket.accept", "subprotocol": socket.protocol, "headers": []})
        outgoing = asyncio.create_task(_to_caller(socket, send))
        left = asyncio.Event()
        incoming = asyncio.create_task(_to_server(socket, receive, left))
        try:
            await asyncio.wait((outgoing, incoming), return_when=asyncio.FIRST_COMPLETED)
            if not incoming.done() and not left.is_set():
                code = socket.close_code
                code = BROKEN if code in (None, ABNORMAL) else UNSENT.get(code, code)
                await send({"type": "websocket.close", "code": code})
        finally:
            outgoing.cancel()
            incoming.cancel()
            await asyncio.gather(outgoing, incoming, return_exceptions=True)
            await socket.close()


def _url(scope: Any) -> Any:
    raw = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"].decode("latin-1")
    path = raw.partition(b"?")[0].decode("latin-1")
    return URL(f"{SERVER}{path}" + (f"?{query}" if query else ""), encoded=True)


def _sent(headers: Any) -> list[tuple[str, str]]:
    return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in headers if key not in HOP_BY_HOP]


async def _pieces(message: Any, receive: Any, received: asyncio.Event) -> Any:
    """The pieces of a body whose first one has come; ``received`` is set at its end.

    A caller that leaves ends the request, and not the body.
    """
    while True:
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body", False):
            received.set()
            return
        message = await receive()


async def _send_answer(answer: Any, send: Any) -> None:
    headers = [(key.lower(), value) for key, value in answer.raw_headers]
    kept = [(key, value) for key, value in headers if key not in HOP_BY_HOP and key not in (b"date", b"server")]
    await send({"type": "http.response.start", "status": answer.status, "headers": kept})
    async for piece in answer.content.iter_any():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _left(received: asyncio.Event, receive: Any) -> None:
    """Return once the caller has left; until the body is there, its pieces are what is received."""
    await received.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Any, kind: str, status: int) -> None:
    """Answer a request, or a websocket's handshake, with this status and no body."""
    await send({"type": f"{kind}.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": f"{kind}.response.body", "body": b""})


async def _to_caller(socket: Any, send: Any) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await send({"type": "websocket.send", "text": message.data})
        elif message.type is aiohttp.WSMsgType.BINARY:
            await send({"type": "websocket.send", "bytes": message.data})


async def _to_server(socket: Any, receive: Any, left: asyncio.Event) -> None:
    """Pass the caller's messages on, and set ``left`` when it closes: the server closes its side, too."""
    while (message := await receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        if text is None:
            await socket.send_bytes(message["bytes"])
        else:
            await socket.send_str(text)
    left.set()
    code = message.get("code", 1000)
    await socket.close(code=UNSENT.get(code, code))
