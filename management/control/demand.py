"""What all workers report of each model, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from management.domain.records import Demand

FRESH_SECONDS: Final = 4.0
"""For which a report says what is in flight and what waits."""


@dataclass(frozen=True)
class Wanted:
    """What all workers say of one model."""

    in_flight: int = 0
    waiting: int = 0
    places: int = 0
    asked_at: float = 0.0
    """Unix time of the last request; 0 for none."""
    told_at: float = 0.0
    """Unix time of the last report."""

    @property
    def busy(self) -> bool:
        """Whether anybody is asking now."""
        return self.in_flight + self.waiting > 0


def added_up(demands: Iterable[Demand], now: float) -> dict[str, Wanted]:
    """By deployment. What a worker said too long ago counts only for when it was asked."""
    found: dict[str, Wanted] = {}
    for one in demands:
        before = found.get(one.deployment_id, Wanted())
        fresh = now - one.at <= FRESH_SECONDS
        found[one.deployment_id] = Wanted(
            before.in_flight + one.in_flight * fresh,
            before.waiting + one.waiting * fresh,
            before.places + one.places * fresh,
            max(before.asked_at, one.asked_at),
            max(before.told_at, one.at),
        )
    return found
