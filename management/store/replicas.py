"""Table of replicas: those that run, and the last ones that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ARRAY, Connection, Row, String, any_, bindparam, delete, insert, literal, select, update

from management.domain.records import TRANSITIONS, Replica, ReplicaState
from management.store import tables

KEPT_FAILURES: Final = 3
"""Failed replicas of a deployment that are kept."""

_columns = tables.replicas.c


class IllegalTransition(Exception):
    """The replica's present state does not allow this transition."""


class ReplicaRepository:
    """Reads and writes replicas. Lists are in the order of creation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Replica]:
        """Return all replicas."""
        return self._select()

    def ready(self) -> list[Replica]:
        """Return the replicas that are ready for requests."""
        return self._select(_columns.state == ReplicaState.READY.value)

    def of(self, deployment_ids: Iterable[str]) -> list[Replica]:
        """Return the replicas of these deployments."""
        ids = list(deployment_ids)
        if self._connection.dialect.name == "postgresql":  # a parameter, instead of one for each id
            return self._select(_columns.deployment_id == any_(literal(ids, ARRAY(String))))
        return self._select(_columns.deployment_id.in_(ids))

    def add(self, replica: Replica) -> None:
        """Insert a replica."""
        self._connection.execute(insert(tables.replicas).values(_values(replica)))

    def transition(self, replica: Replica, state: ReplicaState, at: datetime, **more: Any) -> Replica:
        """Change the replica's state and return it; a replica that is GONE is deleted. Raises IllegalTransition.

        The present state is read from the row, not from the caller's copy.
        """
        row = self._connection.execute(select(_columns.state).where(_columns.id == replica.id)).one_or_none()
        if row is None or state not in TRANSITIONS[ReplicaState(row.state)]:
            raise IllegalTransition(f"{replica.id}: {row and row.state} to {state}")
        changed = replace(replica, state=state, changed_at=at, **more)
        self._connection.execute(update(tables.replicas).where(_columns.id == replica.id).values(_values(changed)))
        if state is ReplicaState.GONE:
            self._connection.execute(delete(tables.replicas).where(_columns.id == replica.id))
        return changed

    def record_usage(self, used: Mapping[str, tuple[int, int]]) -> None:
        """Record the present millicores and bytes of replicas, by id, in one statement."""
        if not used:
            return
        query = (
            update(tables.replicas)
            .where(_columns.id == bindparam("replica_id"))
            .values(cpu_millicores=bindparam("millicores"), memory_bytes=bindparam("bytes"))
        )
        rows = [{"replica_id": key, "millicores": cpu, "bytes": memory} for key, (cpu, memory) in used.items()]
        self._connection.execute(query, rows)

    def record_waiting(self, replica_id: str, reason: str) -> None:
        """Record what the replica waits for, if it is still starting."""
        starting = (_columns.id == replica_id) & (_columns.state == ReplicaState.STARTING.value)
        self._connection.execute(update(tables.replicas).where(starting).values(reason=reason))

    def forget_failed(self, deployment_id: str) -> list[str]:
        """Delete all but the last ``KEPT_FAILURES`` failed replicas, and return the ids of the deleted ones."""
        condition = (_columns.deployment_id == deployment_id) & (_columns.state == ReplicaState.FAILED.value)
        query = select(_columns.id).where(condition).order_by(_columns.number.desc()).offset(KEPT_FAILURES).limit(1000)
        ids = [str(row.id) for row in self._connection.execute(query)]
        self._connection.execute(delete(tables.replicas).where(_columns.id.in_(ids)))
        return ids

    def _select(self, *where: Any) -> list[Replica]:
        query = select(tables.replicas).where(*where).order_by(_columns.number)
        return [_record(row) for row in self._connection.execute(query)]


def _values(replica: Replica) -> dict[str, Any]:
    return {
        **vars(replica),
        "state": replica.state.value,
        "gpus": list(replica.gpus),
    }


def _record(row: Row[Any]) -> Replica:
    values = dict(row._mapping)
    del values["number"]
    values["state"] = ReplicaState(values["state"])
    values["gpus"] = tuple(values["gpus"])
    return Replica(**values)
