"""A Bento that costs next to nothing, for the benchmark of models' own addresses. It imports nothing of the project."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def echo(request: Request) -> PlainTextResponse:
    """Answer with the body."""
    return PlainTextResponse(await request.body())


async def size(request: Request) -> PlainTextResponse:
    """Answer with the number of bytes of the body, of which no two pieces are kept."""
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return PlainTextResponse(str(total))


def compute(request: Request) -> PlainTextResponse:
    """Keep a core busy for so many seconds of CPU time."""
    until = time.thread_time() + float(request.query_params["seconds"])
    while time.thread_time() < until:
        pass
    return PlainTextResponse("done")


async def ticks(request: Request) -> StreamingResponse:
    """Stream the time at which each piece was made, so many seconds apart."""
    count, gap = int(request.query_params["count"]), float(request.query_params["gap"])

    async def pieces() -> AsyncIterator[str]:
        for _ in range(count):
            yield f"data: {time.time()}\n\n"
            await asyncio.sleep(gap)

    return StreamingResponse(pieces(), media_type="text/event-stream")


app = Starlette(
    routes=[
        Route("/echo", echo, methods=["POST"]),
        Route("/size", size, methods=["POST"]),
        Route("/compute", compute, methods=["POST"]),
        Route("/ticks", ticks),
    ]
)


@bentoml.service(name="Address", workers=1, traffic={"timeout": 120, "max_concurrency": 1000})
@bentoml.asgi_app(app, path="/app")
class Address:
    """Says what it hears."""

    @bentoml.api  # type: ignore[untyped-decorator]
    async def say(self, text: str) -> str:
        """Return the text."""
        return text

    @bentoml.api  # type: ignore[untyped-decorator]
    async def count(self, n: int) -> AsyncGenerator[str, None]:
        """Stream the numbers below n."""
        for number in range(n):
            yield f"{number}\n"
