"""One request and its response on their way through the outermost layer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from web.edge.access_log import request_id
from web.edge.held_answer import HeldAnswer
from web.error_shape import OVERLOADED, ErrorFormatter, ErrorResponse, error_response
from web.memory import Lease, holding, leased

logger = logging.getLogger(__name__)

CLIENT_LEFT: Final = 499
"""Status that the log shows when the client disconnected before the response; nginx uses the same number."""

CLOSE: Final = (b"connection", b"close")
HEAD: Final = "edge.head"
"""Scope key of a HEAD request: the application sees GET, and the body of its response is dropped."""
REPLACED: Final = frozenset({b"server", b"x-powered-by", b"x-request-id", b"x-content-type-options"})
"""Response headers that this layer sets itself, or that reveal the server software."""

Headers = list[tuple[bytes, bytes]]
Serve = Callable[[Scope, Receive, Send], Coroutine[Any, Any, ErrorResponse | None]]


class RequestLimits(NamedTuple):
    """Limits of one request in bytes and seconds, and the error responses when it exceeds them."""

    body_bytes: int
    body_seconds: float
    answer_seconds: float | None
    late: ErrorResponse
    too_large: ErrorResponse
    streams: bool = False
    """Whether ``body_seconds`` are those between two pieces of the body."""


class CutShortError(Exception):
    """A response that has begun cannot be completed: the server must close the connection, not end the body."""


class Exchange:
    """One request: it provides ``receive`` and ``send`` to the application and uses those of the server.

    The application runs in its own task. An error response that is due while it runs is sent at once: from then on,
    whatever the application sends is dropped, and its pending calls are cancelled.

    With an ``error_formatter``, the application's own error responses pass unchanged and the formatter renders those
    of this layer. Without one, both have the common error shape.
    """

    def __init__(  # noqa: PLR0913
        self,
        serve: Serve,
        scope: Scope,
        receive: Receive,
        send: Send,
        limits: RequestLimits,
        *,
        error_formatter: ErrorFormatter | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.status = CLIENT_LEFT
        self.bytes_in = 0
        self.bytes_out = 0
        self._serve, self._scope, self._receive, self._send, self._limits = serve, scope, receive, send, limits
        self._error_formatter = error_formatter
        self._lease = lease
        self._id = request_id.get()
        self._began_at = time.monotonic()
        self._refused: asyncio.Future[ErrorResponse] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._held: HeldAnswer | None = None
        self._body_complete = self._begun = self._ended = self._gone = False
        self._listening: asyncio.Task[Message] | None = None
        self.left = asyncio.Event()
        """Set when the client no longer waits for the application's response."""

    async def run(self) -> None:
        """Serve the request until its response is sent. Raises CutShortError if a begun response stays incomplete."""
        self._start_timer()
        holding.set(self.hold)
        leased.set(self._lease)
        task = asyncio.create_task(self._serve(self._scope, self.receive, self.send))
        try:
            left = asyncio.ensure_future(self.left.wait())
            ends: set[asyncio.Future[Any]] = {task, self._refused, left}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server shuts down and no longer waits for this request
            self._refuse(error_response(503))
            if not self._begun:
                await self._conclude()
            raise
        finally:
            self._stop_timer()
            self.left.set()
            for pending in (task, left, self._listening):
                if pending is not None:
                    _dismiss(pending)
            if self._lease is not None:
                self._lease.end()
        if task.done() and not self._refused.done():
            self._settle(task)
        await self._conclude()

    def milliseconds(self) -> float:
        """Return the milliseconds since the request's headers arrived."""
        return round((time.monotonic() - self._began_at) * 1000, 1)

    # The request

    async def receive(self) -> Message:
        """Return the next piece of the body. The response timer stops while it waits, and restarts with each piece."""
        self._stop_if_refused()
        if self._body_complete:
            return await self._disconnect()
        self._stop_timer()
        message = self._noted(await self._in_time())
        size = len(message.get("body", b""))
        self.bytes_in += size
        if self.bytes_in > self._limits.body_bytes:
            self._refuse(self._limits.too_large)
        self.hold(size)
        self._body_complete = not message.get("more_body", False)
        if self._body_complete and message["type"] == "http.request":
            self._listening = asyncio.create_task(self._listen())
        self._start_timer()
        return message

    def hold(self, size: int) -> None:
        """Charge bytes to the memory that requests share; if they do not fit, refuse the request."""
        if self._lease is not None and not self._lease.take(size):
            self._refuse(OVERLOADED)
        self._stop_if_refused()

    async def _disconnect(self) -> Message:
        """Return the message after the body, the client's disconnect."""
        if self._listening is None:
            return self._noted(await self._receive())
        return await asyncio.shield(self._listening)

    async def _listen(self) -> Message:
        """Wait for the disconnect beside the application, which seldom checks for it."""
        message = self._noted(await self._receive())
        if self._gone:
            self.left.set()
        return message

    async def _in_time(self) -> Message:
        began = time.monotonic() if self._limits.streams else self._began_at
        seconds_left = began + self._limits.body_seconds - time.monotonic()
        try:
            return await asyncio.wait_for(self._receive(), seconds_left)
        except TimeoutError:
            self._refuse(error_response(408))
            raise asyncio.CancelledError from None

    def _noted(self, message: Message) -> Message:
        # Servers also say "disconnect" once the answer is complete.
        self._gone = self._gone or (message["type"] == "http.disconnect" and not self._ended)
        return message

    def _stop_if_refused(self) -> None:
        """Raise CancelledError into any task that still works for a refused request.

        The application would take an end of the body for real, log an ordinary exception with its traceback, and
        continue an endless stream if messages were dropped silently. Cancelling its task is not enough: BentoML's
        timeout layer runs the endpoint in another task and does not pass the cancellation on.
        """
        if self._refused.done():
            raise asyncio.CancelledError

    # The timer of the response's first byte

    def _start_timer(self) -> None:
        seconds = self._limits.answer_seconds
        if not self._begun and seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._refuse, self._limits.late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, refused: ErrorResponse) -> None:
        if not self._refused.done():
            self._refused.set_result(refused)

    # The response

    async def send(self, message: Message) -> None:
        """Pass good responses on piece by piece. Hold error responses back to rewrite them, without a formatter."""
        if self._gone:
            raise asyncio.CancelledError
        self._stop_if_refused()
        if self._ended:
            return
        if message["type"] == "http.response.start" and message["status"] >= 400 and self._error_formatter is None:
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
        self._stop_timer()
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

    def _settle(self, task: asyncio.Future[ErrorResponse | None]) -> None:
        """Choose the error response for an application that ended without a complete response."""
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        refused = None if failure else task.result()
        if failure and self._gone:
            logger.info("request %s: the client left, %s followed", self._id, type(failure).__name__)
        elif failure:
            logger.error("request %s failed", self._id, exc_info=failure)
        elif refused is None and not self._ended and not self._gone:
            logger.error("request %s was not answered to the end", self._id)
        self._refuse(refused or error_response(500))

    async def _conclude(self) -> None:
        if self._ended or self._gone:
            return
        if self._begun:
            raise CutShortError(f"request {self._id}: the answer could not be completed")
        refused = self._refused.result()
        # A client that was too slow with its body must not go on sending it on this connection.
        more: Headers = []
        body = refused.body()
        if self._error_formatter is not None:
            more, body = self._error_formatter.format_error(refused, self._scope)
        await self._answer(refused.status, body, [*refused.headers, *more, *([CLOSE] if refused.status == 408 else [])])


def _with_head(allowed: bytes) -> bytes:
    """Add HEAD to an ``Allow`` header that contains GET."""
    methods = [method.strip() for method in allowed.split(b",")]
    return allowed if b"GET" not in methods or b"HEAD" in methods else b", ".join([*methods, b"HEAD"])


_dismissed: Final[set[asyncio.Future[Any]]] = set()
"""Cancelled tasks that have not ended yet. The event loop holds tasks weakly, so they are referenced here."""


def _dismiss(task: asyncio.Future[Any]) -> None:
    task.cancel()
    _dismissed.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    _dismissed.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report it as never retrieved
