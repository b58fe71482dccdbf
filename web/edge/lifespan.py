"""Several applications that begin and end as one: each has its own lifespan protocol, the server sees a single one.

Not asgi-lifespan: it waits forever for an application that returns without a lifespan, ignores ``shutdown.failed``, and
asks no further application to end once one has failed to.
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
    """Starts the applications in turn, each with its own scope, and ends those that have started in reverse.

    The first one that fails ends the start; the others fail in nothing when they are ended.
    """
    started: list[_Lifespan] = []
    await receive()
    try:
        for app, scope in apps:
            one = _Lifespan(app, scope)
            started.append(one)
            failure = await one.asked(STARTUP)
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
        for one in started:
            one.dismiss()


async def _end(started: Sequence[_Lifespan]) -> list[str]:
    """Why some could not end well; each one is asked, whatever the others say."""
    failures = [await one.asked(SHUTDOWN) for one in reversed(started)]
    return [failure for failure in failures if failure is not None]


class _Lifespan:
    """One application's protocol, in a task of its own: the two questions, and what it answers."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        loop = asyncio.get_running_loop()
        self._questions: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[str | None]] = {
            question: loop.create_future() for question in (STARTUP, SHUTDOWN)
        }
        self._task = asyncio.ensure_future(app(scope, self._questions.get, self._hear))
        self._task.add_done_callback(self._left)

    async def asked(self, question: str) -> str | None:
        """Why it failed, and None where it did not."""
        self._questions.put_nowait({"type": question})
        return await self._answers[question]

    def dismiss(self) -> None:
        """Ends what still runs, where nobody will ask any more."""
        self._task.cancel()

    async def _hear(self, message: Message) -> None:
        question, _, ending = message["type"].rpartition(".")
        if question in self._answers and ending == "complete":
            self._answer(question, None)
        elif question in self._answers:
            self._fail(message.get("message") or "no reason was given")

    def _fail(self, reason: str) -> None:
        """In what it has not answered yet: it will not go on."""
        for question in self._answers:
            self._answer(question, reason)

    def _answer(self, question: str, failure: str | None) -> None:
        if not self._answers[question].done():
            self._answers[question].set_result(failure)

    def _left(self, task: asyncio.Future[None]) -> None:
        """An application that leaves in peace has no lifespan; one that breaks down fails in what it is asked next."""
        broken = asyncio.CancelledError() if task.cancelled() else task.exception()
        if broken is not None:
            if not task.cancelled() and not self._answers[SHUTDOWN].done():
                logger.error("an application broke down in its lifespan", exc_info=broken)
            self._fail(repr(broken))
        for question in self._answers:
            self._answer(question, None)
