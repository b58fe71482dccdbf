"""What all workers report of each model, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from management.domain.records import LoadReport

REPORT_VALID_SECONDS: Final = 4.0
"""For which a report says what is in flight and what waits."""


@dataclass(frozen=True)
class TotalLoad:
    """What all workers say of one model."""

    in_flight: int = 0
    waiting: int = 0
    slots: int = 0
    last_request_at: float = 0.0
    """Unix time of the last request; 0 for none."""
    reported_at: float = 0.0
    """Unix time of the last report."""

    @property
    def busy(self) -> bool:
        """Whether anybody is asking now."""
        return self.in_flight + self.waiting > 0


def total_load(demands: Iterable[LoadReport], now: float) -> dict[str, TotalLoad]:
    """By deployment. What a worker said too long ago counts only for when it was asked."""
    found: dict[str, TotalLoad] = {}
    for one in demands:
        before = found.get(one.deployment_id, TotalLoad())
        fresh = now - one.reported_at <= REPORT_VALID_SECONDS
        found[one.deployment_id] = TotalLoad(
            before.in_flight + one.in_flight * fresh,
            before.waiting + one.waiting * fresh,
            before.slots + one.slots * fresh,
            max(before.last_request_at, one.last_request_at),
            max(before.reported_at, one.reported_at),
        )
    return found
