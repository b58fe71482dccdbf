"""Which replica a request goes to, and when a refused one may come again. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

SHORTEST_RETRY_SECONDS: Final = 1
"""Shortest ``Retry-After``, in seconds."""
LONGEST_RETRY_SECONDS: Final = 60
"""Longest ``Retry-After``, in seconds."""
UNMEASURED_RETRY_SECONDS: Final = 5
"""``Retry-After``, in seconds, while the rate of a model's answers is not measured."""


@dataclass(frozen=True)
class ReplicaLoad:
    """A ready replica and how many requests are in flight to it."""

    replica_id: str
    in_flight: int
    last: int = 0
    """Number of its last request, from any growing count."""


def pick(loads: Iterable[ReplicaLoad], concurrency: int, avoid: Collection[str] = ()) -> str | None:
    """The replica with a free slot and the fewest requests in flight; ``avoid`` is used only when there is no other.

    None when all are full. Of equals, the replica whose last request is the oldest.
    """
    free = [load for load in loads if load.in_flight < concurrency]
    others = [load for load in free if load.replica_id not in avoid]
    return min(others or free, key=lambda load: (load.in_flight, load.last)).replica_id if free else None


def retry_after(waiting: int, per_second: float) -> int:
    """Whole seconds until a slot is likely free, from the requests that wait and the measured rate of answers."""
    if per_second <= 0:
        return UNMEASURED_RETRY_SECONDS
    return max(SHORTEST_RETRY_SECONDS, min(LONGEST_RETRY_SECONDS, ceil((waiting + 1) / per_second)))
