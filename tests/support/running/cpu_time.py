"""CPU time that hostile input costs. What else the machine does is not counted, but it can only add to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail where the block takes more CPU seconds of this process."""
    start = time.process_time()
    yield
    taken = time.process_time() - start
    assert taken < seconds, f"{taken:.2f} s of CPU"


def least(work: Callable[[], object], enough: float = 0.0, tries: int = 3) -> float:
    """The least CPU seconds of this process that the work takes; a try of less than ``enough`` is the last."""
    best = float("inf")
    for _ in range(tries):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
        if best < enough:
            break
    return best
