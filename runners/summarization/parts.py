"""A long text goes through the batcher in parts, so that it holds up others for no more than a batch."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from runners.contract import Infer, InferenceRequest
from runners.errors import ModelUnavailable, RunnerError, told
from runners.models.summarizers import passes
from runners.models.summarizers.base import Summarizer, Task

IN_FLIGHT: Final = 8
"""Parts of one text that wait in the batcher at a time: a quarter of a batch, whose rest is for others."""

Outcome = str | RunnerError


async def summary(summarizer: Summarizer, task: Task, infer: Infer) -> Outcome:
    """The summary of a text of any length: of its parts, then of what those summaries make together, and so on.

    Raises the RunnerError of the first part that fails.
    """
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(part: Task) -> str:
        async with room:
            return await _asked(infer, part)

    for _ in range(passes.PASSES):
        # Counting a million characters and drawing pages take seconds: beside the event loop.
        parts = await asyncio.to_thread(summarizer.split, task)
        if len(parts) == 1:
            return await one(task)
        after = await asyncio.to_thread(summarizer.joined, task, await _all([one(part) for part in parts]))
        if not isinstance(after, Task):
            return after
        task = after
    return passes.too_long()


async def _all(asked: Sequence[Coroutine[Any, Any, str]]) -> list[str]:
    """All summaries; when one cannot be had, the others are not waited for."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for one in tasks:
            one.cancel()


async def _asked(infer: Infer, part: Task) -> str:
    """One part through the batcher. Raises the RunnerError that it told instead."""
    (result,) = await infer([request_of(part)])
    if result.error is not None:
        raise told(result.error.code, result.error.message)
    if result.output_data is None:
        raise ModelUnavailable("the model gave no answer; try again")
    return str(result.output_data["summary"])


def request_of(task: Task) -> InferenceRequest:
    """A task as an item of the model contract."""
    images = [b64encode(page).decode() for page in task.images]
    known: dict[str, Any] = {"text": task.text, "title": task.title, "language": task.language, "images": images}
    return InferenceRequest(
        input_data={name: value for name, value in known.items() if value},
        parameters={"max_length": task.max_length, "temperature": task.temperature},
    )
