"""Table of events: who changed what, and when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from management.domain.records import Event
from management.store import tables

KEPT: Final = 1000
"""Events of one model that are kept."""
KEPT_IN_ALL: Final = 100_000
"""Events of all models that are kept."""

_columns = tables.events.c


class EventRepository:
    """Reads and writes events. Lists start with the newest."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, event: Event) -> None:
        """Insert an event and delete the model's oldest ones beyond ``KEPT``."""
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

        self._delete_old()

    def _delete_old(self) -> None:
        """Delete the oldest events of all models: events of deleted models would otherwise stay for ever."""
        newest = self._connection.execute(select(func.max(_columns.number))).scalar_one()
        self._connection.execute(delete(tables.events).where(_columns.number <= newest - KEPT_IN_ALL))

    def of(self, model_id: str, limit: int) -> list[Event]:
        """Return the last events of a model id, including those of its deleted deployments."""
        query = select(tables.events).where(_columns.model_id == model_id).order_by(_columns.number.desc()).limit(limit)
        rows = [dict(row._mapping) for row in self._connection.execute(query)]
        return [Event(**{key: value for key, value in row.items() if key != "number"}) for row in rows]

    def actors(self, action: str, deployment_ids: Collection[str]) -> dict[str, str]:
        """Return who made such a change first, by the id of the deployment; without those whose event is forgotten."""
        query = select(_columns.deployment_id, _columns.actor).where(
            _columns.action == action, _columns.deployment_id.in_(deployment_ids)
        )
        found: dict[str, str] = {}
        for deployment_id, actor in self._connection.execute(query.order_by(_columns.number)):
            found.setdefault(deployment_id, actor)
        return found
