"""A Bento made of two services: the outer one asks the inner one, which runs in a process of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import bentoml
from fastapi import FastAPI, WebSocket
from pydantic import BaseModel


class Request(BaseModel):
    input_data: dict[str, Any]
    parameters: dict[str, Any] = {}


class Result(BaseModel):
    output_data: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    confidence: float | None = None


app = FastAPI(openapi_url=None)


@app.get("/slash/")
async def slash() -> str:
    """Reached without its slash by a redirection."""
    return "found"


@app.websocket("/socket")
async def socket(connection: WebSocket) -> None:
    await connection.accept()
    async for text in connection.iter_text():
        await connection.send_text(text)


@bentoml.service(name="Inner")
class Inner:
    @bentoml.api  # type: ignore[untyped-decorator]
    def pid(self) -> int:
        return os.getpid()


@bentoml.service(name="Outer")
@bentoml.asgi_app(app, path="/app")
class Outer:
    inner = bentoml.depends(Inner)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def infer(self, requests: list[Request]) -> list[Result]:
        inner: Any = self.inner
        pids = {"outer": os.getpid(), "inner": await inner.to_async.pid()}
        return [Result(output_data={"echo": request.input_data, **pids}) for request in requests]

    @bentoml.api  # type: ignore[untyped-decorator]
    async def greet(self, name: str) -> str:
        inner: Any = self.inner
        return f"Hello, {name}! {await inner.to_async.pid()}"

    @bentoml.api  # type: ignore[untyped-decorator]
    async def count(self, most: int) -> AsyncGenerator[str, None]:
        for number in range(most):
            yield f"{number}\n"
