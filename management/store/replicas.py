"""Replicas: those that run, and the last that failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from management.domain.records import TRANSITIONS, Replica, ReplicaState
from management.store import tables
from management.store.codecs import of_revision, to_revision

KEPT_FAILURES: Final = 3
"""Failed replicas of a deployment that are remembered."""

_columns = tables.replicas.c


class IllegalTransition(Exception):
    """A replica cannot come into that state from the one it is in."""


class ReplicaRepository:
    """In the order of their creation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Replica]:
        """Every one."""
        return self._select()

    def ready(self) -> list[Replica]:
        """Those that requests are sent to."""
        return self._select(_columns.state == ReplicaState.READY.value)

    def of(self, deployment_ids: Iterable[str]) -> list[Replica]:
        """Those of these deployments."""
        return self._select(_columns.deployment_id.in_(list(deployment_ids)))

    def add(self, replica: Replica) -> None:
        """A new one."""
        self._connection.execute(insert(tables.replicas).values(_values(replica)))

    def transition(self, replica: Replica, state: ReplicaState, at: datetime, **more: Any) -> Replica:
        """The replica in its new state; one that is GONE is forgotten. Raises IllegalMoveError.

        The row decides what state it is in, not the caller's copy.
        """
        row = self._connection.execute(select(_columns.state).where(_columns.id == replica.id)).one_or_none()
        if row is None or state not in TRANSITIONS[ReplicaState(row.state)]:
            raise IllegalTransition(f"{replica.id}: {row and row.state} to {state}")
        moved = replace(replica, state=state, changed_at=at, **more)
        self._connection.execute(update(tables.replicas).where(_columns.id == replica.id).values(_values(moved)))
        if state is ReplicaState.GONE:
            self._connection.execute(delete(tables.replicas).where(_columns.id == replica.id))
        return moved

    def record_usage(self, replica_id: str, cpu_millicores: int, memory_bytes: int) -> None:
        """What it uses now."""
        self._connection.execute(
            update(tables.replicas)
            .where(_columns.id == replica_id)
            .values(cpu_millicores=cpu_millicores, memory_bytes=memory_bytes)
        )

    def forget_failed(self, deployment_id: str) -> list[str]:
        """Forgets all but the last failed ones and returns the ids of those that were forgotten."""
        wanted = (_columns.deployment_id == deployment_id) & (_columns.state == ReplicaState.FAILED.value)
        found = select(_columns.id).where(wanted).order_by(_columns.number.desc()).offset(KEPT_FAILURES).limit(1000)
        ids = [str(row.id) for row in self._connection.execute(found)]
        self._connection.execute(delete(tables.replicas).where(_columns.id.in_(ids)))
        return ids

    def _select(self, *where: Any) -> list[Replica]:
        found = select(tables.replicas).where(*where).order_by(_columns.number)
        return [_record(row) for row in self._connection.execute(found)]


def _values(replica: Replica) -> dict[str, Any]:
    return {
        **vars(replica),
        "state": replica.state.value,
        "revision": of_revision(replica.revision),
        "gpus": list(replica.gpus),
    }


def _record(row: Row[Any]) -> Replica:
    values = dict(row._mapping)
    del values["number"]
    values["revision"] = to_revision(values["revision"])
    values["state"] = ReplicaState(values["state"])
    values["gpus"] = tuple(values["gpus"])
    return Replica(**values)
