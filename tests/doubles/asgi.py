"""ASGI applications for tests, good and faulty, and ways to call them with and without a server.

Each faulty application's docstring describes the fault.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.edge.middleware import request_id

Headers = list[tuple[bytes, bytes]]


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve by uvicorn with BentoML's configuration, in which uvicorn chooses the HTTP class; yields the port."""
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        task = asyncio.create_task(server.serve([sock]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            await task


@dataclass
class Answer:
    """The messages that an application has sent; ``complete`` after the last one."""

    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        return self.messages[-1].get("more_body", False) is False

    def header(self, name: str) -> list[bytes]:
        return [value for key, value in self.messages[0]["headers"] if key.lower() == name.encode()]

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an error answer in the project's shape."""
        assert [message["type"] for message in self.messages] == ["http.response.start", "http.response.body"]
        assert self.complete
        assert self.header("content-type") == [b"application/json"]
        assert self.header("content-length") == [str(len(self.body)).encode()]
        return self.status, json.loads(self.body)["code"]


class Client:
    """Sends the pieces of a body, then waits or disconnects."""

    def __init__(self, pieces: Iterable[bytes], ends: bool = True, leaves: bool = False) -> None:
        self.pieces = list(pieces)
        self.ends, self.leaves = ends, leaves

    async def receive(self) -> Message:
        await asyncio.sleep(0)
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or not self.ends}
        if not self.leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}


async def ask(
    app: ASGIApp,
    path: str = "/echo",
    method: str = "POST",
    headers: Headers | None = None,
    client: Client | None = None,
) -> Answer:
    scope: Scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope.update(headers=headers or [], client=("10.0.0.1", 1))
    answer = Answer()
    async with asyncio.timeout(30):
        await app(scope, (client or Client([b""])).receive, answer.send)
    return answer


async def read(receive: Receive) -> bytes:
    """Read the body like a careless application: a message without ``more_body`` is the end."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def respond(send: Send, status: int = 200, headers: Headers | None = None, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    await send({"type": "http.response.body", "body": body})


class Echoes:
    """Answers with the body, and records the scope, the body and the request id."""

    scope: Scope
    body: bytes | None = None
    request_id = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.request_id = scope, request_id.get()
        self.body = await read(receive)
        await respond(send, body=self.body)


class Answers:
    """Answers with fixed values, without reading."""

    def __init__(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, self.status, self.headers, self.body)


class Hangs:
    """Never answers, and records its cancellation."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class Resists:
    """Ignores cancellation, and answers late."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        try:
            await respond(send, body=b"late")
        finally:
            self.ended.set()


class Swallows:
    """Swallows every exception of reading, and answers 200."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read(receive)
        except BaseException:
            body = b"all is well"
        await respond(send, body=body)


class Detaches:
    """Runs the application in a task that it does not cancel, as BentoML's timeout layer does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.work: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.work = asyncio.ensure_future(self.app(scope, receive, send))
        await asyncio.Event().wait()


class Raises:
    """Sends the messages, then raises."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.messages:
            await send(message)
        raise KeyError("the cause")


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PIECE: Message = {"type": "http.response.body", "body": b"half", "more_body": True}
END: Message = {"type": "http.response.body", "body": b"", "more_body": False}
