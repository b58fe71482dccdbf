"""Who is next, and where to: the gateway's decisions, without a clock and without a connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from math import ceil
from typing import Final

SOONEST_RETRY: Final = 1  # seconds
LATEST_RETRY: Final = 60  # seconds
UNMEASURED_RETRY: Final = 5  # seconds, while a model has not answered anything yet


class Priority(IntEnum):
    """How urgent a request is; the number is its steps behind the most urgent."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, order=True)
class QueuePosition:
    """A waiting request's place: the smallest is next.

    Strict priorities that age: each step of priority is worth ``ageing`` seconds of waiting. Everybody ages at the
    same pace, so the order of two requests never changes and is known when they come.
    """

    virtual_start: float
    number: int


def position(arrived: float, priority: Priority, number: int, *, ageing: float) -> QueuePosition:
    """The turn of a request that arrived at that second as that number of all."""
    return QueuePosition(arrived + priority * ageing, number)


@dataclass(frozen=True)
class ReplicaLoad:
    """A ready replica and how many requests are in flight to it."""

    replica_id: str
    in_flight: int
    last: int = 0
    """When it got its last request, by any count that grows."""


def pick(loads: Iterable[ReplicaLoad], concurrency: int, avoid: Collection[str] = ()) -> str | None:
    """The replica with least in flight that may take one more; ``avoid`` only when there is no other.

    None when all are full. Of equals that one is taken which was for longest not taken.
    """
    free = [one for one in loads if one.in_flight < concurrency]
    others = [one for one in free if one.replica_id not in avoid]
    return min(others or free, key=lambda one: (one.in_flight, one.last)).replica_id if free else None


def retry_after(waiting: int, per_second: float) -> int:
    """Whole seconds until a place is likely free: what waits before it, at the measured rate of answers."""
    if per_second <= 0:
        return UNMEASURED_RETRY
    return max(SOONEST_RETRY, min(LATEST_RETRY, ceil((waiting + 1) / per_second)))
