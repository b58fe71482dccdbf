"""Answers that come in pieces: plain text, and server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

import bentoml
from annotated_types import Ge, Le
from bentoml.validators import ContentType

Count = Annotated[int, Ge(1), Le(1000)]
Pause = Annotated[float, Ge(0), Le(10)]
Event = Annotated[str, ContentType("text/event-stream")]


@bentoml.service(traffic={"timeout": 60})
class Stream:
    """Counts aloud."""

    @bentoml.api
    async def count(self, to: Count = 5, pause: Pause = 0.2) -> AsyncGenerator[str, None]:
        """Yield the numbers from 1, a line each, with a pause in seconds between them."""
        for number in range(1, to + 1):
            await asyncio.sleep(pause if number > 1 else 0)
            yield f"{number}\n"

    @bentoml.api
    async def events(self, to: Count = 5, pause: Pause = 0.2) -> AsyncGenerator[Event, None]:
        """Yield the same as server-sent events."""
        async for line in self.count(to, pause):
            yield f"data: {line}\n"
