"""The load of each model, added up from the reports of all workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from management.domain.records import LoadReport

REPORT_VALID_SECONDS: Final = 4.0
"""Age in seconds up to which a report's requests, in flight and waiting, are counted."""


@dataclass(frozen=True)
class TotalLoad:
    """The load of one model in all workers."""

    in_flight: int = 0
    waiting: int = 0
    slots: int = 0
    last_request_at: float = 0.0
    """Unix time of the last request; 0 for none."""
    reported_at: float = 0.0
    """Unix time of the last report."""

    @property
    def busy(self) -> bool:
        """Whether any request is in flight or waits."""
        return self.in_flight + self.waiting > 0


def total_load(reports: Iterable[LoadReport], now: float) -> dict[str, TotalLoad]:
    """The total load by deployment id. Of a report that is too old, only the times count."""
    loads: dict[str, TotalLoad] = {}
    for report in reports:
        before = loads.get(report.deployment_id, TotalLoad())
        valid = now - report.reported_at <= REPORT_VALID_SECONDS
        loads[report.deployment_id] = TotalLoad(
            before.in_flight + report.in_flight * valid,
            before.waiting + report.waiting * valid,
            before.slots + report.slots * valid,
            max(before.last_request_at, report.last_request_at),
            max(before.reported_at, report.reported_at),
        )
    return loads
