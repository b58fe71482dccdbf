"""A long text goes through the batcher in parts, so that it holds up others for no more than a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from runners.errors import RunnerError
from runners.models.summarizers import passes
from runners.models.summarizers.base import Summarizer, Task

PARTS_IN_FLIGHT: Final = 8
"""Parts of one text that wait in the batcher at a time: a quarter of a batch, whose rest is for others."""

Outcome = str | RunnerError
Batches = Callable[[Sequence[Task]], Awaitable[list[Outcome]]]
"""The batched way to a summarizer: an outcome for each task, in order."""


async def summary(summarizer: Summarizer, task: Task, batches: Batches) -> Outcome:
    """The summary of a text of any length: of its parts, then of what those summaries make together, and so on.

    Raises the RunnerError of the first part that fails.
    """
    room = asyncio.Semaphore(PARTS_IN_FLIGHT)

    async def summarize(part: Task) -> str:
        async with room:
            return await _summarized(batches, part)

    for _ in range(passes.PASSES):
        # Counting a million characters and drawing pages take seconds: beside the event loop.
        parts = await asyncio.to_thread(summarizer.split, task)
        if len(parts) == 1:
            return await summarize(task)
        joined = await asyncio.to_thread(summarizer.joined, task, await _all([summarize(part) for part in parts]))
        if not isinstance(joined, Task):
            return joined
        task = joined
    return passes.too_long()


async def _all(work: Sequence[Coroutine[Any, Any, str]]) -> list[str]:
    """All summaries; when one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def _summarized(batches: Batches, part: Task) -> str:
    """One part, through the batcher. Raises the RunnerError that it gives instead."""
    (outcome,) = await batches([part])
    if isinstance(outcome, RunnerError):
        raise outcome
    return outcome
