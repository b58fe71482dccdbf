"""A Bento as its author would write it, with every kind of API, and a mounted application whose requests meet.

``/app/wait/{name}`` answers once ``/app/go/{name}`` was called, and ``/app/events`` sends an event for each such call:
what arrives in between has arrived while the other request was at work. It imports nothing of the project.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import ContentType
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from PIL import Image, ImageOps

app = FastAPI(openapi_url=None)
calls: dict[str, asyncio.Queue[None]] = defaultdict(asyncio.Queue)
seen: dict[str, int] = defaultdict(int)


@app.api_route("/echo/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def echo(request: Request) -> dict[str, Any]:
    """What has arrived of a request."""
    return {
        "method": request.method,
        "target": request.scope["raw_path"].decode("latin-1"),
        "query": request.scope["query_string"].decode("latin-1"),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in request.headers.raw],
        "body": (await request.body()).decode("latin-1"),
        "pid": os.getpid(),
        "prepared": os.environ.get("MANY_PREPARED"),
    }


@app.get("/slash/")
async def slash() -> str:
    """Reached without its slash by a redirection."""
    return "found"


@app.post("/go/{name}")
async def go(name: str) -> int:
    """Let one request go on that waits for the name."""
    calls[name].put_nowait(None)
    return os.getpid()


@app.get("/seen/{name}")
async def was_seen(name: str) -> int:
    """How often it was noted."""
    return seen[name]


@app.api_route("/wait/{name}", methods=["GET", "POST"])
async def wait(name: str) -> int:
    """Answer once the name was called."""
    seen[name] += 1
    await calls[name].get()
    return os.getpid()


@app.get("/events/{name}")
async def events(name: str) -> StreamingResponse:
    """An event for each call of the name, and the end after ``stop``; a caller that leaves is noted."""

    async def made() -> AsyncIterator[str]:
        try:
            yield f"data: {os.getpid()}\n\n"
            while True:
                await calls[name].get()
                if not calls[f"stop-{name}"].empty():
                    return
                yield "data: called\n\n"
        finally:
            seen[f"left-{name}"] += 1

    return StreamingResponse(made(), media_type="text/event-stream")


@app.post("/crash")
async def crash() -> None:
    """End the process."""
    os._exit(3)


@app.websocket("/socket")
async def socket(connection: WebSocket) -> None:
    """Send back what comes."""
    await connection.accept()
    async for text in connection.iter_text():
        await connection.send_text(f"{os.getpid()} {text}")


@bentoml.service(name="Many", workers=1, traffic={"timeout": 50, "concurrency": 8})
@bentoml.asgi_app(app, path="/app")
class Many:
    """One API of each kind."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def prepare() -> None:
        """What the author does before the model serves."""
        os.environ["MANY_PREPARED"] = "yes"

    @bentoml.api  # type: ignore[untyped-decorator]
    def greet(self, name: str = "world") -> str:
        """Text in, text out."""
        return f"Hello, {name}!"

    @bentoml.api  # type: ignore[untyped-decorator]
    def add(self, numbers: list[int], factor: int = 1) -> dict[str, int]:
        """JSON in, JSON out."""
        return {"sum": factor * sum(numbers)}

    @bentoml.api  # type: ignore[untyped-decorator]
    def double(self, values: np.ndarray) -> np.ndarray:
        """An array in, an array out."""
        return values * 2

    @bentoml.api  # type: ignore[untyped-decorator]
    def mirror(self, picture: Image.Image) -> Image.Image:
        """An image in, an image out."""
        return ImageOps.mirror(picture)

    @bentoml.api  # type: ignore[untyped-decorator]
    def shout(self, context: bentoml.Context, file: Path) -> Annotated[Path, ContentType("text/plain")]:
        """A file in, a file out."""
        out = Path(context.temp_dir) / "loud.txt"
        out.write_text(file.read_text().upper())
        return out

    @bentoml.api  # type: ignore[untyped-decorator]
    async def count(self, most: int = 3) -> AsyncGenerator[str, None]:
        """A stream."""
        for number in range(most):
            yield f"{number}\n"

    @bentoml.api  # type: ignore[untyped-decorator]
    def length(self, text: str, /) -> int:
        """The body as one value."""
        return len(text)

    @bentoml.task  # type: ignore[untyped-decorator]
    def square(self, number: int) -> int:
        """A task."""
        return number**2
