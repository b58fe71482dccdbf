"""What callers want of each model: a row of each worker that has been asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from management.domain.records import Demand
from management.store import tables

FOLDED: Final = "folded"
"""The worker of what is left of others."""

_columns = tables.demands.c


class Demands:
    """The last that each worker said."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, demands: Sequence[Demand]) -> None:
        """In place of what the same workers said of the same deployments; of those that are no more nothing is kept."""
        known = set(self._connection.scalars(select(tables.deployments.c.id)))
        for one in demands:
            own = (_columns.worker == one.worker) & (_columns.deployment_id == one.deployment_id)
            self._connection.execute(delete(tables.demands).where(own))
            if one.deployment_id in known:
                self._connection.execute(insert(tables.demands).values(vars(one)))

    def all(self) -> list[Demand]:
        """Of every worker, of every deployment."""
        return [Demand(**row._mapping) for row in self._connection.execute(select(tables.demands))]

    def fold(self, before: float) -> None:
        """Of what was said before that Unix time, by workers that are gone or idle, keeps when each model was asked."""
        old = [one for one in self.all() if one.at < before]
        asked: dict[str, float] = {}
        for one in old:
            asked[one.deployment_id] = max(one.asked_at, asked.get(one.deployment_id, 0.0))
        self._connection.execute(delete(tables.demands).where(_columns.at < before))
        self.put([Demand(FOLDED, of, 0, 0, 0, at, 0.0) for of, at in asked.items()])
