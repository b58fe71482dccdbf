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
"""Called after each batch with its size, and with the seconds that its first item waited."""


@dataclass(frozen=True)
class _Pending(Generic[T, R]):
    item: T
    result: asyncio.Future[R]
    since: float = field(default_factory=time.perf_counter)


class Batcher(Generic[T, R]):
    """Computes items in batches of at most ``max_batch_size``, in order, with ``streams`` batches side by side.

    ``compute`` runs in threads of the batcher, and takes a list of items and returns as many results, in order. What it
    raises, every caller of that batch gets. An item whose caller gives up before its batch begins is not computed.
    """

    def __init__(
        self,
        compute: Callable[[list[T]], list[R]],
        max_batch_size: int,
        observe: Observe | None = None,
        streams: int = 1,
    ) -> None:
        self._model, self._max_batch_size, self._observe, self._streams = compute, max_batch_size, observe, streams
        self._waiting: deque[_Pending[T, R]] = deque()
        self._threads = ThreadPoolExecutor(streams, thread_name_prefix="batches")
        self._busy = 0
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, items: Sequence[T]) -> list[R]:
        """The results of the items, which may be computed in several batches, and beside those of others."""
        loop = asyncio.get_running_loop()
        pending: list[_Pending[T, R]] = [_Pending(item, loop.create_future()) for item in items]
        self._waiting.extend(pending)
        if pending and self._busy < self._streams:
            self._busy += 1
            # In a context of its own: the batches to come are not those of this caller's request.
            task = loop.create_task(self._run(), context=Context())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await asyncio.gather(*(each.result for each in pending))

    async def _run(self) -> None:
        try:
            while batch := self._next_batch():
                await self._run_batch(batch)
        finally:  # at once, not when the loop reports the task's end: a caller before that would start no stream
            self._busy -= 1

    def _next_batch(self) -> list[_Pending[T, R]]:
        batch: list[_Pending[T, R]] = []
        while self._waiting and len(batch) < self._max_batch_size:
            first = self._waiting.popleft()
            if not first.result.done():
                batch.append(first)
        return batch

    async def _run_batch(self, batch: list[_Pending[T, R]]) -> None:
        waited = time.perf_counter() - batch[0].since
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._threads, self._compute, [each.item for each in batch])
        except Exception as error:  # whatever a model raises, its callers get it and the next batch is computed
            for each in batch:
                if not each.result.done():
                    each.result.set_exception(error)
            return
        for each, result in zip(batch, results, strict=True):
            if not each.result.done():
                each.result.set_result(result)
        self._report(len(batch), waited)

    def _report(self, size: int, waited: float) -> None:
        try:
            if self._observe:
                self._observe(size, waited)
        except Exception:  # a full disk under the metrics' files, perhaps: the answers are out, and others wait
            logger.exception("a batch was not counted")

    def _compute(self, items: list[T]) -> list[R]:
        try:
            results = self._model(items)
        except StopIteration as error:  # which no future can hold: its callers would wait for ever
            raise RuntimeError("the model raised StopIteration") from error
        if len(results) != len(items):
            raise AssertionError(f"{len(results)} results for {len(items)} items")
        return results
