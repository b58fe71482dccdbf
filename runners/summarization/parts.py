"""Long texts go through the batcher in parts, so that they delay other texts by one batch at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from runners.errors import RunnerError
from runners.models.summarizers import passes
from runners.models.summarizers.base import Summarizer, Task

PARTS_IN_FLIGHT: Final = 8
"""Parts of one text in the batcher at the same time: a quarter of a batch, so that others can use the rest."""

Outcome = str | RunnerError
Batches = Callable[[Sequence[Task]], Awaitable[list[Outcome]]]
"""Summarizes tasks in batches and returns an outcome for each, in order."""


async def summary(summarizer: Summarizer, task: Task, batches: Batches) -> Outcome:
    """Summarize a text of any length: first its parts, then their joined summaries, and so on.

    Raises the RunnerError of the first part that fails.
    """
    room = asyncio.Semaphore(PARTS_IN_FLIGHT)

    async def summarize(part: Task) -> str:
        async with room:
            return await _summarized(batches, part)

    for _ in range(passes.MAX_PASSES):
        # In a thread: counting a million characters and drawing pages take seconds.
        parts = await asyncio.to_thread(summarizer.split, task)
        if len(parts) == 1:
            return await summarize(task)
        joined = await asyncio.to_thread(summarizer.join, task, await _all([summarize(part) for part in parts]))
        if not isinstance(joined, Task):
            return joined
        task = joined
    return passes.too_long()


async def _all(work: Sequence[Coroutine[Any, Any, str]]) -> list[str]:
    """Return all summaries; if one fails, cancel the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def _summarized(batches: Batches, part: Task) -> str:
    """Summarize one part through the batcher. Raises the part's RunnerError."""
    (outcome,) = await batches([part])
    if isinstance(outcome, RunnerError):
        raise outcome
    return outcome
