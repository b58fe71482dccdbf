"""Several applications with one lifespan: each runs its own lifespan protocol, the server sees a single one.

asgi-lifespan does not fit: it waits forever for an application that returns without a lifespan, ignores
``shutdown.failed``, and shuts down no further application once one has failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

STARTUP: Final = "lifespan.startup"
SHUTDOWN: Final = "lifespan.shutdown"


async def run(apps: Sequence[tuple[ASGIApp, Scope]], receive: Receive, send: Send) -> None:
    """Start the applications in turn, each with its own scope, and shut the started ones down in reverse order.

    The first failure ends the startup; the applications that started before it are shut down.
    """
    started: list[_Lifespan] = []
    await receive()
    try:
        for app, scope in apps:
            lifespan = _Lifespan(app, scope)
            started.append(lifespan)
            failure = await lifespan.request(STARTUP)
            if failure is not None:
                await _end(started[:-1])
                await send({"type": f"{STARTUP}.failed", "message": failure})
                return
        await send({"type": f"{STARTUP}.complete"})
        await receive()
        if failures := await _end(started):
            await send({"type": f"{SHUTDOWN}.failed", "message": "\n".join(failures)})
        else:
            await send({"type": f"{SHUTDOWN}.complete"})
    finally:
        for lifespan in started:
            lifespan.dismiss()


async def _end(started: Sequence[_Lifespan]) -> list[str]:
    """Shut every lifespan down, even after a failure, and return the failures."""
    failures = [await lifespan.request(SHUTDOWN) for lifespan in reversed(started)]
    return [failure for failure in failures if failure is not None]


class _Lifespan:
    """One application's lifespan protocol in its own task: its startup and shutdown events, and their outcomes."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._outcomes: dict[str, asyncio.Future[str | None]] = {
            event: loop.create_future() for event in (STARTUP, SHUTDOWN)
        }
        self._task = asyncio.ensure_future(app(scope, self._events.get, self._receive_outcome))
        self._task.add_done_callback(self._on_task_done)

    async def request(self, event: str) -> str | None:
        """Send the event and return the reason of its failure, or None on success."""
        self._events.put_nowait({"type": event})
        return await self._outcomes[event]

    def dismiss(self) -> None:
        """Cancel the task; no further event will be sent."""
        self._task.cancel()

    async def _receive_outcome(self, message: Message) -> None:
        event, _, ending = message["type"].rpartition(".")
        if event in self._outcomes and ending == "complete":
            self._set_outcome(event, None)
        elif event in self._outcomes:
            self._fail(message.get("message") or "no reason was given")

    def _fail(self, reason: str) -> None:
        """Fail every event that has no outcome yet: the application will not continue."""
        for event in self._outcomes:
            self._set_outcome(event, reason)

    def _set_outcome(self, event: str, failure: str | None) -> None:
        if not self._outcomes[event].done():
            self._outcomes[event].set_result(failure)

    def _on_task_done(self, task: asyncio.Future[None]) -> None:
        """Record the end of the task: a plain return means no lifespan, an exception fails the pending events."""
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if failure is not None:
            if not task.cancelled() and not self._outcomes[SHUTDOWN].done():
                logger.error("an application broke down in its lifespan", exc_info=failure)
            self._fail(repr(failure))
        for event in self._outcomes:
            self._set_outcome(event, None)


async def acknowledge(receive: Receive, send: Send) -> None:
    """Answer the lifespan of an application whose parts another one starts and closes."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
