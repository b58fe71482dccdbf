"""Answers that nothing on their way keeps."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CACHE_CONTROL: Final = b"cache-control"
NO_STORE: Final = (CACHE_CONTROL, b"no-store")


class UnkeptAnswers:
    """Forbids caches to keep any answer of an application.

    Answers depend on the caller's role and have URLs at the caller's ``Host``, some of which are a permission. A cache
    that keyed them by path alone would give those of one caller to another: it does not take the client's own header
    for a login, as it takes ``Authorization``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or a websocket, which no cache keeps."""

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() != CACHE_CONTROL]
                message = {**message, "headers": [*kept, NO_STORE]}
            await send(message)

        await self._app(scope, receive, mark if scope["type"] == "http" else send)
