"""Adaptive batches: the items that arrive while one batch is computed form the next one.

There is no waiting window: a single item is computed at once. The busier the model, the larger its batches, which is
when they pay off. BentoML's own dispatcher estimates a waiting time from past batches, polls every millisecond, and
computes items of clients that have disconnected.
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
"""Called after each batch with its size and the seconds that its first item waited."""


@dataclass(frozen=True)
class _Pending(Generic[T, R]):
    item: T
    result: asyncio.Future[R]
    since: float = field(default_factory=time.perf_counter)


class Batcher(Generic[T, R]):
    """Computes items in batches of at most ``max_batch_size``, in order, with up to ``streams`` concurrent batches.

    ``compute`` runs in the batcher's threads; it maps a list of items to as many results, in order. Its exceptions are
    raised to every caller of that batch. An item whose caller is cancelled before its batch begins is not computed.
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
        """Return the results of the items, which may share batches with items of other callers."""
        loop = asyncio.get_running_loop()
        pending: list[_Pending[T, R]] = [_Pending(item, loop.create_future()) for item in items]
        self._waiting.extend(pending)
        if pending and self._busy < self._streams:
            self._busy += 1
            # In an empty context: the later batches do not belong to this caller's request.
            task = loop.create_task(self._run(), context=Context())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await asyncio.gather(*(entry.result for entry in pending))

    async def _run(self) -> None:
        try:
            while batch := self._next_batch():
                await self._run_batch(batch)
        finally:  # at once, not in a done callback: a caller in between would start no stream
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
            results = await loop.run_in_executor(self._threads, self._compute, [entry.item for entry in batch])
        except Exception as error:  # the callers get the model's exception, and the next batch runs
            for entry in batch:
                if not entry.result.done():
                    entry.result.set_exception(error)
            return
        for entry, result in zip(batch, results, strict=True):
            if not entry.result.done():
                entry.result.set_result(result)
        self._report(len(batch), waited)

    def _report(self, size: int, waited: float) -> None:
        try:
            if self._observe:
                self._observe(size, waited)
        except Exception:  # such as a full disk under the metrics files: the results are set, and others wait
            logger.exception("a batch was not counted")

    def _compute(self, items: list[T]) -> list[R]:
        try:
            results = self._model(items)
        except StopIteration as error:  # a future cannot hold it: the callers would wait forever
            raise RuntimeError("the model raised StopIteration") from error
        if len(results) != len(items):
            raise AssertionError(f"{len(results)} results for {len(items)} items")
        return results
