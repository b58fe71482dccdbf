"""A Bento made of two services: the outer one asks the inner one, which runs in a process of its own."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from pydantic import BaseModel


class Request(BaseModel):
    input_data: dict[str, Any]
    parameters: dict[str, Any] = {}


class Result(BaseModel):
    output_data: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    confidence: float | None = None


@bentoml.service(name="Inner")
class Inner:
    @bentoml.api  # type: ignore[untyped-decorator]
    def pid(self) -> int:
        return os.getpid()


@bentoml.service(name="Outer")
class Outer:
    inner = bentoml.depends(Inner)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def infer(self, requests: list[Request]) -> list[Result]:
        inner: Any = self.inner
        pids = {"outer": os.getpid(), "inner": await inner.to_async.pid()}
        return [Result(output_data={"echo": request.input_data, **pids}) for request in requests]
