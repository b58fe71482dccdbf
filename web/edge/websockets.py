"""One websocket on its way through the outermost layer: who may open it, and its line in the access log."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from web import addresses
from web.edge import access_log
from web.edge.access_log import request_id
from web.edge.sections import Section, count
from web.error_shape import ErrorResponse, Headers

METHOD: Final = "WEBSOCKET"
"""What stands for the method of a websocket in authentication and in the access log: it reads, and writes, too."""
DENIAL: Final = "websocket.http.response"
"""ASGI extension with which a websocket is refused by an HTTP response."""
SWITCHING: Final = 101
"""Status that the log shows for a websocket that was opened."""
REFUSED: Final = 403
"""Status that the server sends for a websocket that is closed before it is opened."""
INTERNAL_ERROR: Final = 1011
"""Close code of a websocket whose application failed."""

logger = logging.getLogger(__name__)


async def serve(section: Section, scope: Scope, receive: Receive, send: Send, name: str) -> None:
    """Let the section's application serve the websocket, unless the section refuses it; log and count its end."""
    began, sent = time.monotonic(), _Sent(send)
    token = request_id.set(scope["state"]["request_id"])
    try:
        refused = await section.authenticate(scope) if section.authenticate else None
        if refused is None:
            await section.app(scope, receive, sent)
        else:
            await deny(scope, sent, refused, *section.error_formatter.format_error(refused, scope))
    except Exception:
        logger.exception("websocket %s failed", request_id.get())
        await sent.close_once()
    finally:
        seconds = time.monotonic() - began
        _log(scope, sent, name, seconds)
        count(section.observe, scope, sent.status, seconds, request_id.get())
        request_id.reset(token)


async def deny(scope: Scope, send: Send, refused: ErrorResponse, more: Headers, body: bytes) -> None:
    """Refuse a websocket that is not open: by an HTTP response where the server can send one."""
    if DENIAL not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [
        *refused.headers,
        *more,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.get().encode()),
    ]
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class _Sent:
    """The server's ``send``, which notes what became of the websocket."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = REFUSED
        self.bytes_out = 0
        self.closed = False

    async def __call__(self, message: Message) -> None:
        """Send the message."""
        if message["type"] == "websocket.accept":
            self.status = SWITCHING
        elif message["type"] == "websocket.http.response.start":
            self.status = message["status"]
        self.closed |= message["type"] in ("websocket.close", "websocket.http.response.start")
        self.bytes_out += len(message.get("bytes") or b"") + len(message.get("text") or "")
        await self._send(message)

    async def close_once(self) -> None:
        """Close the websocket of an application that failed."""
        if not self.closed:
            await self({"type": "websocket.close", "code": INTERNAL_ERROR})


def _log(scope: Scope, sent: _Sent, name: str, seconds: float) -> None:
    line: dict[str, Any] = {"service": name, "request_id": request_id.get(), "method": METHOD}
    access_log.write(
        scope["path"],
        sent.status,
        **line,
        ms=round(seconds * 1000, 1),
        bytes_in=0,
        bytes_out=sent.bytes_out,
        client=addresses.shown(scope.get("client")),
    )
