"""The load of this worker: requests in flight and waiting, by model, reported for the leader to add up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final
from uuid import uuid4

from management.domain.clock import Clock
from management.domain.records import LoadReport
from management.gateway.route_table import Route
from management.store import Store

REPORT_SECONDS: Final = 1.0
"""Seconds between two reports of a worker that has something to report."""
FOLD_SECONDS: Final = 60.0
"""Age in seconds at which a report counts as that of a worker that ended; of all of these one row is kept."""


class LoadReporter:
    """Reports the load of this worker."""

    def __init__(self, store: Store, routes: Iterable[Route]) -> None:
        self.worker = uuid4().hex
        self._store, self._routes = store, routes
        self._reported: Mapping[str, LoadReport] = {}
        self._fold_at = 0.0

    async def report(self) -> None:
        """Writes the load of models that are in use, and of those whose load has changed since the last report."""
        now = time.time()
        reports = {report.deployment_id: report for report in self._reports(now)}
        news = [report for report in reports.values() if self._is_news(report)]
        if news:
            await self._store.write(
                lambda session: session.load_reports.put([_shared(report, session.clock) for report in news]),
                counted=False,
            )
        if now >= self._fold_at:
            await self._store.write(
                lambda session: session.load_reports.fold(session.clock.unix() - FOLD_SECONDS), counted=False
            )
            self._fold_at = now + 60 * FOLD_SECONDS
        self._reported = reports

    def _reports(self, now: float) -> Iterable[LoadReport]:
        for route in self._routes:
            if route.last_request_at:
                queue = route.queue
                yield LoadReport(
                    self.worker,
                    route.deployment.id,
                    queue.in_flight,
                    queue.waiting,
                    queue.slots,
                    route.last_request_at,
                    now,
                )

    def _is_news(self, report: LoadReport) -> bool:
        """Also true of the first report without load: until then the last report's requests still count."""
        before = self._reported.get(report.deployment_id)
        busy = report.in_flight + report.waiting > 0
        return (
            busy
            or before is None
            or before.in_flight + before.waiting > 0
            or before.last_request_at != report.last_request_at
        )


def _shared(report: LoadReport, clock: Clock) -> LoadReport:
    """Return the report by the clock that all servers on the database share."""
    ahead = clock.ahead()
    return replace(report, last_request_at=report.last_request_at + ahead, reported_at=report.reported_at + ahead)
