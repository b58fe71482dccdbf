"""One request on its way through the outermost layer: what comes in, what goes out, and who answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from web.edge.access_log import request_id
from web.edge.held_answer import HeldAnswer
from web.error_shape import OVERLOADED, Refusal, Voice, refusal
from web.memory import Lease, holding, leased

logger = logging.getLogger(__name__)

CLIENT_LEFT: Final = 499
"""What the log says where nobody was there to be answered; nginx's number."""

CLOSE: Final = (b"connection", b"close")
HEAD: Final = "edge.head"
"""What a scope has where the caller asked for headers alone: the application sees GET, and its body is dropped."""
REPLACED: Final = frozenset({b"server", b"x-powered-by", b"x-request-id", b"x-content-type-options"})
"""Headers that are ours to set, or tell what serves."""

Headers = list[tuple[bytes, bytes]]
Serve = Callable[[Scope, Receive, Send], Coroutine[Any, Any, Refusal | None]]


class Allowance(NamedTuple):
    """What one request may take, and the answer where it takes too long."""

    body_bytes: int
    body_seconds: float
    answer_seconds: float
    late: Refusal
    too_large: Refusal


class CutShortError(Exception):
    """An answer that had begun cannot be completed: the server must close the connection, not end the body."""


class Exchange:
    """Stands between the application and the server, as each one's ``receive`` and ``send``.

    The application runs in a task of its own. A refusal that comes while it runs is answered at once, whatever the
    application does about it: from then on what it sends is dropped and what it waits for is cancelled.

    A ``voice`` words our refusals for an application whose own error answers pass as they are, piece by piece. Without
    one, both are in our shape.
    """

    def __init__(  # noqa: PLR0913
        self,
        serve: Serve,
        scope: Scope,
        receive: Receive,
        send: Send,
        allowance: Allowance,
        *,
        voice: Voice | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.status = CLIENT_LEFT
        self.bytes_in = 0
        self.bytes_out = 0
        self._serve, self._scope, self._receive, self._send, self._allowance = serve, scope, receive, send, allowance
        self._voice = voice
        self._lease = lease
        self._id = request_id.get()
        self._began_at = time.monotonic()
        self._refused: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self._clock: asyncio.TimerHandle | None = None
        self._held: HeldAnswer | None = None
        self._body_complete = self._begun = self._ended = self._gone = False
        self._listening: asyncio.Task[Message] | None = None
        self.left = asyncio.Event()
        """Set when nobody waits for the application's answer any more."""

    async def run(self) -> None:
        """Until the answer is out. Raises CutShortError for an answer that had begun and cannot be completed."""
        self._start_clock()
        holding.set(self.hold)
        leased.set(self._lease)
        task = asyncio.create_task(self._serve(self._scope, self.receive, self.send))
        try:
            left = asyncio.ensure_future(self.left.wait())
            ends: set[asyncio.Future[Any]] = {task, self._refused, left}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server ends, and waits for this request no longer
            self._refuse(refusal(503))
            if not self._begun:
                await self._conclude()
            raise
        finally:
            self._stop_clock()
            self.left.set()
            for one in (task, left, self._listening):
                if one is not None:
                    _dismiss(one)
            if self._lease is not None:
                self._lease.end()
        if task.done() and not self._refused.done():
            self._settle(task)
        await self._conclude()

    def milliseconds(self) -> float:
        """Since the request's headers."""
        return round((time.monotonic() - self._began_at) * 1000, 1)

    # What comes in

    async def receive(self) -> Message:
        """The next piece of the body; each one starts the answer's clock again, and none runs while we wait for it."""
        self._stop_if_refused()
        if self._body_complete:
            return await self._departure()
        self._stop_clock()
        message = self._noted(await self._in_time())
        size = len(message.get("body", b""))
        self.bytes_in += size
        if self.bytes_in > self._allowance.body_bytes:
            self._refuse(self._allowance.too_large)
        self.hold(size)
        self._body_complete = not message.get("more_body", False)
        if self._body_complete and message["type"] == "http.request":
            self._listening = asyncio.create_task(self._listen())
        self._start_clock()
        return message

    def hold(self, size: int) -> None:
        """Takes so many bytes of the memory that requests share; where there are none, the request is refused."""
        if self._lease is not None and not self._lease.take(size):
            self._refuse(OVERLOADED)
        self._stop_if_refused()

    async def _departure(self) -> Message:
        """What comes after the body: that the caller has left."""
        if self._listening is None:
            return self._noted(await self._receive())
        return await asyncio.shield(self._listening)

    async def _listen(self) -> Message:
        """Runs beside the application, which seldom asks whether anybody still waits."""
        message = self._noted(await self._receive())
        if self._gone:
            self.left.set()
        return message

    async def _in_time(self) -> Message:
        seconds_left = self._began_at + self._allowance.body_seconds - time.monotonic()
        try:
            return await asyncio.wait_for(self._receive(), seconds_left)
        except TimeoutError:
            self._refuse(refusal(408))
            raise asyncio.CancelledError from None

    def _noted(self, message: Message) -> Message:
        # Servers also say "disconnect" once the answer is complete.
        self._gone = self._gone or (message["type"] == "http.disconnect" and not self._ended)
        return message

    def _stop_if_refused(self) -> None:
        """Stops whoever still works for a request that is refused, as if by cancellation.

        The end of a body would be believed, an ordinary exception be logged with its traceback, and a message that is
        dropped in silence would let an endless stream run on. To cancel the application's task is not enough:
        BentoML's timeout layer works in another one, and does not pass the cancellation on.
        """
        if self._refused.done():
            raise asyncio.CancelledError

    # The clock of the answer's first byte

    def _start_clock(self) -> None:
        if not self._begun:
            loop = asyncio.get_running_loop()
            self._clock = loop.call_later(self._allowance.answer_seconds, self._refuse, self._allowance.late)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, refused: Refusal) -> None:
        if not self._refused.done():
            self._refused.set_result(refused)

    # What goes out

    async def send(self, message: Message) -> None:
        """Lets good answers through piece by piece, and keeps bad ones back to put them into our shape, if any."""
        if self._gone:
            raise asyncio.CancelledError
        self._stop_if_refused()
        if self._ended:
            return
        if message["type"] == "http.response.start" and message["status"] >= 400 and self._voice is None:
            self._held = HeldAnswer(message)
        elif message["type"] == "http.response.start":
            await self._begin(message["status"], message.get("headers", []))
        elif self._held is None:
            await self._pass_on(message)
        else:
            await self._hold(self._held, message)

    async def _hold(self, held: HeldAnswer, message: Message) -> None:
        held.add(message.get("body", b""))
        if not message.get("more_body", False):
            await self._answer(held.status, held.reshaped(), held.kept_headers())

    async def _begin(self, status: int, headers: Headers) -> None:
        self._stop_clock()
        self._begun = True
        self.status = status
        kept = [(name, value) for name, value in headers if name.lower() not in REPLACED]
        if status == 405:
            kept = [(name, _with_head(value) if name.lower() == b"allow" else value) for name, value in kept]
        ours = [(b"x-request-id", self._id.encode()), (b"x-content-type-options", b"nosniff")]
        await self._send({"type": "http.response.start", "status": status, "headers": [*kept, *ours]})

    async def _pass_on(self, message: Message) -> None:
        if not self._begun:
            raise RuntimeError(f"the application sent {message['type']} before a status")
        if self._scope.get(HEAD):
            message = {**message, "body": b""}
        self.bytes_out += len(message.get("body", b""))
        self._ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def _answer(self, status: int, body: bytes, headers: Headers) -> None:
        length = str(len(body)).encode()
        described = [*headers, (b"content-type", b"application/json"), (b"content-length", length)]
        await self._begin(status, described)
        await self._pass_on({"type": "http.response.body", "body": body})

    # The end

    def _settle(self, task: asyncio.Future[Refusal | None]) -> None:
        """Turns what the application left behind into a refusal, which counts where no answer is out."""
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        refused = None if failure else task.result()
        if failure and self._gone:
            logger.info("request %s: the client left, %s followed", self._id, type(failure).__name__)
        elif failure:
            logger.error("request %s failed", self._id, exc_info=failure)
        elif refused is None and not self._ended and not self._gone:
            logger.error("request %s was not answered to the end", self._id)
        self._refuse(refused or refusal(500))

    async def _conclude(self) -> None:
        if self._ended or self._gone:
            return
        if self._begun:
            raise CutShortError(f"request {self._id}: the answer could not be completed")
        refused = self._refused.result()
        # A client that was too slow with its body must not go on sending it on this connection.
        body = refused.body() if self._voice is None else self._voice.refused(refused, self._scope)
        await self._answer(refused.status, body, [*refused.headers, *([CLOSE] if refused.status == 408 else [])])


def _with_head(allowed: bytes) -> bytes:
    """HEAD is answered wherever GET is."""
    methods = [one.strip() for one in allowed.split(b",")]
    return allowed if b"GET" not in methods or b"HEAD" in methods else b", ".join([*methods, b"HEAD"])


_dismissed: Final[set[asyncio.Future[Any]]] = set()
"""Cancelled applications that have not ended yet: nobody waits for them, and the event loop holds no task by itself."""


def _dismiss(task: asyncio.Future[Any]) -> None:
    task.cancel()
    _dismissed.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    _dismissed.discard(task)
    if not task.cancelled():
        task.exception()  # asked for, so that asyncio does not report it as unnoticed
