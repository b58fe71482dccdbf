"""Table of load reports: a row for each worker that got requests for a model, and one for all workers that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select

from management.domain.records import LoadReport
from management.store import tables

FOLDED: Final = "folded"
"""Worker name of the row that stands for all workers that are gone."""
COLUMNS: Final = {"slots": "places", "last_request_at": "asked_at", "reported_at": "at"}
"""Columns that keep the names of the first version, by the record's field."""
FIELDS: Final = {column: name for name, column in COLUMNS.items()}
"""The record's fields, by those columns."""

_columns = tables.demands.c


class LoadReportRepository:
    """Reads and writes the last report of each worker and deployment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, reports: Sequence[LoadReport]) -> None:
        """Replace earlier reports of the same worker and deployment. Reports of deleted deployments are dropped."""
        known = set(self._connection.scalars(select(tables.deployments.c.id)))
        for report in reports:
            same_report = (_columns.worker == report.worker) & (_columns.deployment_id == report.deployment_id)
            self._connection.execute(delete(tables.demands).where(same_report))
            if report.deployment_id in known:
                values = {COLUMNS.get(name, name): value for name, value in vars(report).items()}
                self._connection.execute(insert(tables.demands).values(values))

    def all(self) -> list[LoadReport]:
        """Return the reports of all workers and deployments."""
        return [_record(row) for row in self._connection.execute(select(tables.demands))]

    def fold(self, before: float) -> None:
        """Replace reports older than that Unix time by one row a deployment, with the time of its last request."""
        last: dict[str, float] = {}
        for report in self.all():
            if report.reported_at < before:
                last[report.deployment_id] = max(report.last_request_at, last.get(report.deployment_id, 0.0))
        self._connection.execute(delete(tables.demands).where(_columns.at < before))
        self.put(
            [
                LoadReport(FOLDED, deployment_id, 0, 0, 0, requested_at, 0.0)
                for deployment_id, requested_at in last.items()
            ]
        )


def _record(row: Row[Any]) -> LoadReport:
    return LoadReport(**{FIELDS.get(name, name): value for name, value in row._mapping.items()})
