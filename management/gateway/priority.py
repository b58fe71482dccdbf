"""Which request is next: by priority, but a low one ages, so that it is served in the end. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """How urgent a request is; the number is its steps behind the most urgent."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, order=True)
class QueuePosition:
    """A waiting request's place: the smallest is next.

    Strict priorities that age: each step of priority is worth ``ageing`` seconds of waiting. All requests age at the
    same pace, so the order of two requests never changes and is known when they arrive.
    """

    virtual_start: float
    number: int

    @classmethod
    def of_request(cls, arrived: float, priority: Priority, number: int, *, ageing: float) -> QueuePosition:
        """The position of the ``number``-th request, which arrived at that second."""
        return cls(arrived + priority * ageing, number)
