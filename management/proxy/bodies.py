"""The body of a request on its way to a replica: a small one is kept, so that it can be sent again; others stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.types import Message, Receive, Scope

KEPT_BYTES: Final = 256 * 1024
"""Bytes of the largest body that is kept while its request waits."""


async def body_of(scope: Scope, receive: Receive) -> bytes | AsyncIterator[bytes]:
    """Return the whole body, or its pieces as they come. The task is cancelled when the caller leaves first."""
    first = await _next(receive)
    if not first.get("more_body", False):
        return bytes(first.get("body", b""))
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if not length.isdigit() or int(length) > KEPT_BYTES:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        return _pieces(first, receive, task)
    kept = [first.get("body", b"")]
    while first.get("more_body", False):
        first = await _next(receive)
        kept.append(first.get("body", b""))
    return b"".join(kept)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise asyncio.CancelledError
    return message


async def _pieces(message: Message, receive: Receive, task: asyncio.Task[object]) -> AsyncIterator[bytes]:
    """The pieces of the body, the first of which has come. ``task`` is cancelled when the caller leaves."""
    while True:
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body", False):
            return
        message = await receive()
        if message["type"] == "http.disconnect":
            task.cancel()
            await asyncio.Event().wait()  # until the request is given up: an end here would look like the body's end
