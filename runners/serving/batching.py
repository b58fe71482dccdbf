"""Adaptive batches: what comes while one batch is computed makes the next one.

Nothing waits for company: alone, an item is computed at once; the busier the model, the larger its batches, which is
when they are worth it. BentoML's own dispatcher guesses how long to wait from past batches, polls every millisecond,
and computes for callers who have left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

logger = logging.getLogger("bentoml.atelier")

T = TypeVar("T")
R = TypeVar("R")
Observe = Callable[[int, float], None]
"""Is told of each batch: its size, and how many seconds its first item waited."""


@dataclass(frozen=True)
class _Asked(Generic[T, R]):
    item: T
    answer: asyncio.Future[R]
    since: float = field(default_factory=time.perf_counter)


class Batcher(Generic[T, R]):
    """Computes items in batches of at most ``most``, ``lanes`` batches at a time in threads of its own, in order.

    ``compute`` takes a list of items and returns as many results, in order. What it raises, every caller of that batch
    gets. An item whose caller gives up before its batch begins is not computed.
    """

    def __init__(
        self, compute: Callable[[list[T]], list[R]], most: int, observe: Observe | None = None, lanes: int = 1
    ) -> None:
        self._compute, self._most, self._observe, self._lanes = compute, most, observe, lanes
        self._waiting: deque[_Asked[T, R]] = deque()
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="batches")
        self._busy = 0
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, items: Sequence[T]) -> list[R]:
        """The results of the items, which may be computed in several batches, and beside those of others."""
        loop = asyncio.get_running_loop()
        asked: list[_Asked[T, R]] = [_Asked(item, loop.create_future()) for item in items]
        self._waiting.extend(asked)
        if asked and self._busy < self._lanes:
            self._busy += 1
            # In a context of its own: the batches to come are not those of this caller's request.
            task = loop.create_task(self._run(), context=Context())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await asyncio.gather(*(one.answer for one in asked))

    async def _run(self) -> None:
        try:
            while batch := self._batch():
                await self._answer(batch)
        finally:  # at once, not when the loop tells of the task's end: who asks until then would start no lane
            self._busy -= 1

    def _batch(self) -> list[_Asked[T, R]]:
        batch: list[_Asked[T, R]] = []
        while self._waiting and len(batch) < self._most:
            first = self._waiting.popleft()
            if not first.answer.done():
                batch.append(first)
        return batch

    async def _answer(self, batch: list[_Asked[T, R]]) -> None:
        waited = time.perf_counter() - batch[0].since
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._threads, self._computed, [one.item for one in batch])
        except Exception as error:  # whatever a model raises, its callers hear of it and the next batch is computed
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        for one, result in zip(batch, results, strict=True):
            if not one.answer.done():
                one.answer.set_result(result)
        self._tell(len(batch), waited)

    def _tell(self, size: int, waited: float) -> None:
        try:
            if self._observe:
                self._observe(size, waited)
        except Exception:  # a full disk under the metrics' files, perhaps: the answers are out, and others wait
            logger.exception("a batch was not counted")

    def _computed(self, items: list[T]) -> list[R]:
        try:
            results = self._compute(items)
        except StopIteration as error:  # which no future can hold: its callers would wait for ever
            raise RuntimeError("the model raised StopIteration") from error
        if len(results) != len(items):
            raise AssertionError(f"{len(results)} results for {len(items)} items")
        return results
