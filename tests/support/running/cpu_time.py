"""CPU time that hostile input costs, in seconds of a core of ordinary speed.

A machine that is slow at the moment, for what else it does, charges a process more CPU seconds for the same work. A
known piece of work, measured right after the other, tells how many times as many.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

Made = TypeVar("Made")

STEPS: Final = 100_000
STEP_SECONDS: Final = 50e-9
"""What a step of the known work takes: an addition in a loop of Python 3.11, on an idle core of about 3 GHz."""
TRIES: Final = 3
"""So often the same work is measured, of which the least counts: what disturbs it can only add to it."""


def at_most(seconds: float, work: Callable[[], Made]) -> Made:
    """Return or raise what the work does; fail where it takes more CPU seconds of this process in every try."""
    outcome: Future[Made] = Future()

    def done() -> None:
        nonlocal outcome
        outcome = Future()
        try:
            outcome.set_result(work())
        except Exception as error:
            outcome.set_exception(error)

    taken = least(done, enough=seconds)
    assert taken < seconds, f"{taken:.2f} s of CPU of an ordinary core"
    return outcome.result()


def least(work: Callable[[], object], enough: float = 0.0) -> float:
    """The least CPU seconds of this process that the work takes; a try of less than ``enough`` is the last."""
    best = float("inf")
    for _ in range(TRIES):
        start = time.process_time()
        work()
        taken = time.process_time() - start
        best = min(best, taken if taken < enough else taken / slowness())
        if best < enough:
            break
    return best


def slowness() -> float:
    """How many times as long as on an idle core of ordinary speed the known work takes now; 1 on a faster core."""
    start = time.process_time()
    total = 0
    for step in range(STEPS):
        total += step
    return max(1.0, (time.process_time() - start) / (STEPS * STEP_SECONDS))
