"""A model for the management's tests: it answers with what it gets, and fails in every way that it is told to.

    {"sleep": 2}                                                answers after 2 seconds, 60 at most
    {"sleep": [1, 2]}                                           answers after 1 to 2 seconds
    {"error": {"code": "C", "message": "m", "status": 422}}     this item has that error
    {"print": "text"}                                           writes a line to its log
    {"environment": ["NAME"]}                                   answers with these variables and the files they name
    {"crash": true}                                             the process ends with status 3

Environment: ECHO_VERSION is told in each answer, ECHO_START_SECONDS passes before it is ready, ECHO_FAIL=1 fails its
start. It imports nothing of the project, as a Bento of somebody else's would not.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import bentoml
from pydantic import BaseModel, Field

LONGEST_SLEEP = 60.0
CRASHED = 3


class ItemError(BaseModel):
    """Why one item has no output."""

    code: str
    message: str
    status: int = 422


class Request(BaseModel):
    """One item."""

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class Result(BaseModel):
    """One answer: ``output_data`` or ``error``."""

    output_data: dict[str, Any] | None = None
    error: ItemError | None = None
    confidence: float | None = None


@bentoml.service(name="Echo", workers=1)
class Echo:
    """Says what it is told."""

    def __init__(self) -> None:
        time.sleep(float(os.environ.get("ECHO_START_SECONDS", "0")))
        if os.environ.get("ECHO_FAIL") == "1":
            raise RuntimeError("ECHO_FAIL says that this start fails")
        self.version = os.environ.get("ECHO_VERSION", "1")

    @bentoml.api  # type: ignore[untyped-decorator]
    def infer(self, requests: list[Request]) -> list[Result]:
        """A result for each item."""
        return [self._answer(request) for request in requests]

    @bentoml.api  # type: ignore[untyped-decorator]
    async def ticks(self, count: int, seconds: float = 0.1) -> AsyncGenerator[str, None]:
        """Stream so many events, so many seconds apart."""
        for number in range(count):
            yield f"data: {number}\n\n"
            await asyncio.sleep(min(seconds, LONGEST_SLEEP))

    def _answer(self, item: Request) -> Result:
        told = item.input_data
        if told.get("crash"):
            os._exit(CRASHED)
        if "print" in told:
            sys.stdout.write(f"{told['print']}\n")
            sys.stdout.flush()
        if "sleep" in told:
            time.sleep(min(_seconds(told["sleep"]), LONGEST_SLEEP))
        if "error" in told:
            return Result(error=ItemError(**told["error"]))
        if "environment" in told:
            return Result(output_data={name: _variable(name) for name in told["environment"]})
        output = {"echo": told, "parameters": item.parameters, "pid": os.getpid(), "version": self.version}
        return Result(output_data=output, confidence=1.0)


def _seconds(told: float | list[float]) -> float:
    """So many, or any number between two."""
    return random.uniform(*told) if isinstance(told, list) else float(told)


def _variable(name: str) -> dict[str, Any]:
    """A variable's value; where it is the path of a file, that file's content and mode as well."""
    value = os.environ.get(name)
    if value is None or not os.path.isfile(value):
        return {"value": value}
    with open(value) as file:
        return {"value": value, "content": file.read(), "mode": oct(os.stat(value).st_mode & 0o777)}
