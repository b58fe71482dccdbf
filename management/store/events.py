"""Who changed what, when."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from management.domain.records import Event
from management.store import tables

KEPT: Final = 1000
"""Events of one model that are kept."""
KEPT_IN_ALL: Final = 100_000

_columns = tables.events.c


class EventRepository:
    """The newest first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, event: Event) -> None:
        """One more; the oldest of the model are forgotten."""
        self._connection.execute(insert(tables.events).values({**vars(event), "details": dict(event.details)}))
        oldest = (
            (select(_columns.number).where(_columns.model_id == event.model_id).order_by(_columns.number.desc()))
            .offset(KEPT)
            .limit(1)
        )
        number = self._connection.execute(oldest).scalar_one_or_none()
        if number is not None:
            self._connection.execute(
                delete(tables.events).where(_columns.model_id == event.model_id, _columns.number <= number)
            )

        self._forget_old()

    def _forget_old(self) -> None:
        """Of models that are no more, too: there is no end to names."""
        newest = self._connection.execute(select(func.max(_columns.number))).scalar_one()
        self._connection.execute(delete(tables.events).where(_columns.number <= newest - KEPT_IN_ALL))

    def of(self, model_id: str, limit: int) -> list[Event]:
        """The last events of a model id, those of deleted deployments of that id with them."""
        found = select(tables.events).where(_columns.model_id == model_id).order_by(_columns.number.desc()).limit(limit)
        rows = [dict(row._mapping) for row in self._connection.execute(found)]
        return [Event(**{key: value for key, value in row.items() if key != "number"}) for row in rows]
