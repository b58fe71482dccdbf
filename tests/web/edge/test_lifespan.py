"""Applications that begin and end as one: in which order, with whose state, and what a failure of one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.doubles.asgi import ask
from web.edge import lifespan as lifespans
from web.edge.middleware import Edge, Limits, Section
from web.error_shape import ErrorResponse, Headers

LIMITS = Limits(body_bytes=100, request_seconds=60, body_seconds=60)


def living(name: str, done: list[str], breaks: str = "") -> FastAPI:
    """An application that notes when it begins and ends, and says at ``/`` what it kept for its requests."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        if breaks == "begins":
            raise RuntimeError(f"{name} cannot begin")
        done.append(f"{name} begins")
        yield {"kept": name, name: True}
        if breaks == "ends":
            raise RuntimeError(f"{name} cannot end")
        done.append(f"{name} ends")

    app = FastAPI(lifespan=lifespan)

    @app.get("/{path:path}")
    def tell(request: Request) -> dict[str, Any]:
        return {"kept": request.state.kept, "all": sorted(request.scope["state"].keys() - {"request_id"})}

    return app


class Server:
    """Asks an application to begin and to end, as uvicorn does."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self.said: list[Message] = []
        self._questions: asyncio.Queue[Message] = asyncio.Queue()
        self._heard = asyncio.Event()
        self.task = asyncio.ensure_future(
            app({"type": "lifespan", "state": self.state}, self._questions.get, self._hear)
        )

    async def _hear(self, message: Message) -> None:
        self.said.append(message)
        self._heard.set()

    async def asks(self, question: str) -> Message:
        self._heard.clear()
        self._questions.put_nowait({"type": f"lifespan.{question}"})
        async with asyncio.timeout(30):
            await self._heard.wait()
        return self.said[-1]


def together(*apps: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await lifespans.run([(one, {**scope, "state": {}}) for one in apps], receive, send)

    return app


async def test_all_begin_in_turn_and_end_in_reverse() -> None:
    done: list[str] = []
    server = Server(together(living("a", done), living("b", done)))
    assert await server.asks("startup") == {"type": "lifespan.startup.complete"}
    assert done == ["a begins", "b begins"]
    assert await server.asks("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert done[2:] == ["b ends", "a ends"]
    await server.task


async def test_one_that_cannot_begin_ends_those_that_have_begun_and_its_reason_is_told() -> None:
    done: list[str] = []
    apps = [living("a", done), living("b", done, breaks="begins"), living("c", done)]
    server = Server(together(*apps))
    said = await server.asks("startup")
    assert said["type"] == "lifespan.startup.failed"
    assert "b cannot begin" in said["message"]
    assert done == ["a begins", "a ends"]
    assert len(server.said) == 1
    await server.task


async def test_one_that_cannot_end_keeps_no_other_from_it() -> None:
    done: list[str] = []
    server = Server(together(living("a", done), living("b", done, breaks="ends"), living("c", done, breaks="ends")))
    await server.asks("startup")
    said = await server.asks("shutdown")
    assert said["type"] == "lifespan.shutdown.failed"
    assert said["message"].index("c cannot end") < said["message"].index("b cannot end")
    assert done[-1] == "a ends"


async def leaves(scope: Scope, receive: Receive, send: Send) -> None:
    """Knows no lifespan, and returns."""


async def breaks_down(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("broken")


async def test_an_application_without_a_lifespan_is_no_failure_and_one_that_breaks_down_is() -> None:
    server = Server(together(leaves, living("a", [])))
    assert (await server.asks("startup"))["type"] == "lifespan.startup.complete"
    assert (await server.asks("shutdown"))["type"] == "lifespan.shutdown.complete"
    said = await Server(together(breaks_down)).asks("startup")
    assert said == {"type": "lifespan.startup.failed", "message": "ValueError('broken')"}


async def test_one_that_breaks_down_while_it_serves_is_told_of_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks_later(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ValueError("broken")

    server = Server(together(breaks_later))
    assert (await server.asks("startup"))["type"] == "lifespan.startup.complete"
    assert (await server.asks("shutdown"))["message"] == "ValueError('broken')"
    assert [bool(record.exc_info) for record in caplog.records] == [True]


async def test_a_server_that_stops_at_once_leaves_nothing_running(caplog: pytest.LogCaptureFixture) -> None:
    stopped = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        finally:
            stopped.set()

    server = Server(together(waits))
    await server.asks("startup")
    server.task.cancel()
    async with asyncio.timeout(30):
        await stopped.wait()
    assert not caplog.records


class Plain:
    def format_error(self, response: ErrorResponse, scope: Scope) -> tuple[Headers, bytes]:
        return [], response.body()


async def test_each_application_of_an_edge_finds_what_it_has_kept_and_nothing_of_the_others() -> None:
    done: list[str] = []
    section = Section("/part", living("part", done), limits=lambda _: LIMITS, error_formatter=Plain())
    edge = Edge(living("main", done), name="cats", routes=lambda _: True, limits=LIMITS, sections=[section])
    server = Server(edge)
    assert (await server.asks("startup"))["type"] == "lifespan.startup.complete"
    assert done == ["main begins", "part begins"]

    async def serves(scope: Scope, receive: Receive, send: Send) -> None:
        await edge({**scope, "state": dict(server.state)}, receive, send)

    assert (await ask(serves, "/", "GET")).body == b'{"kept":"main","all":["kept","main"]}'
    assert (await ask(serves, "/part", "GET")).body == b'{"kept":"part","all":["kept","part"]}'
    assert (await server.asks("shutdown"))["type"] == "lifespan.shutdown.complete"
    assert done[2:] == ["part ends", "main ends"]
