"""A WebSocket, in a Starlette application that is mounted in the service."""

from __future__ import annotations

import bentoml
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket


async def _converse(socket: WebSocket) -> None:
    """Reverse every text and every run of bytes until the caller leaves, or says "bye"."""
    await socket.accept()
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") == "bye":
            return await socket.close(1000, "bye")
        if (text := message.get("text")) is not None:
            await socket.send_text(reverse(text))
        else:
            await socket.send_bytes(message["bytes"][::-1])
    return None


def reverse(text: str) -> str:
    """Return the text from its end to its beginning."""
    return text[::-1]


@bentoml.service
@bentoml.asgi_app(Starlette(routes=[WebSocketRoute("/reverse", _converse)]), path="/socket")
class Mirror:
    """Reverses what it hears."""

    @bentoml.api
    def say(self, text: str) -> str:
        """Reverse one text, without a WebSocket."""
        return reverse(text)
