"""A process's memory while something is done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psutil

MB: Final = 1_000_000
SAMPLE_SECONDS: Final = 0.01


@dataclass(frozen=True)
class Cost:
    """The process's memory in bytes around the work, and the seconds that it took."""

    before: int
    peak: int
    after: int
    seconds: float


@contextmanager
def sampled(pid: int) -> Iterator[Callable[[], Cost]]:
    """Sample the memory of a process during the block; what it yields returns the cost after the block."""
    process, done = psutil.Process(pid), threading.Event()
    before = process.memory_info().rss
    samples, began, ended = [before], time.perf_counter(), 0.0

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            samples.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield lambda: Cost(before, max(samples), process.memory_info().rss, ended - began)
    finally:
        ended = time.perf_counter()
        done.set()
        sampler.join()
