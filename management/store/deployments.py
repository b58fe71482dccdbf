"""Table of deployments: at most one for each model id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update
from sqlalchemy.sql import ColumnElement

from management.domain.records import Deletion, Deployment, ReplicaState, Status
from management.store import tables

_columns = tables.deployments.c
COLUMNS: Final = {
    "target": "wanted",
    "last_stable": "served",
    "revision_counter": "latest",
    "failed": "gave_up",
    "rolled_back_from": "abandoned",
    "rollback_reason": "abandoned_for",
    "deletion": "removal",
    "scaled_to_zero": "dormant",
    "autoscaling_paused_until": "held_until",
}
"""Columns that keep the names of the first version, by the record's field."""
FIELDS: Final = {column: name for name, column in COLUMNS.items()}
"""The record's fields, by those columns."""


@dataclass(frozen=True)
class Page:
    """A part of a list, and the length of the whole list."""

    items: list[Deployment]
    total: int


class DeploymentRepository:
    """Reads and writes deployments. Lists are in the order of creation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model_id: str) -> Deployment | None:
        """Return the deployment of the model id, also while it is being deleted; None without one."""
        row = self._connection.execute(select(tables.deployments).where(_columns.model_id == model_id)).one_or_none()
        return None if row is None else _record(row)

    def all(self) -> list[Deployment]:
        """Return all deployments."""
        return [_record(row) for row in self._connection.execute(select(tables.deployments).order_by(_columns.number))]

    def page(
        self,
        *,
        status: Status | None,
        model_type: str | None,
        limit: int,
        offset: int,
        labels: Mapping[str, str] | None = None,
    ) -> Page:
        """Return at most ``limit`` deployments of that status and type with these labels, from ``offset`` on."""
        conditions = [
            *([] if status is None else [_has(status)]),
            *([] if model_type is None else [_columns.model_type == model_type]),
        ]
        query = select(tables.deployments).where(*conditions).order_by(_columns.number)
        if labels:  # any text may be a label's key, which a path into JSON cannot hold
            found = [record for row in self._connection.execute(query) if _is_labelled(record := _record(row), labels)]
            return Page(found[offset : offset + limit], len(found))
        query = query.limit(limit).offset(offset)
        total = select(func.count()).select_from(tables.deployments).where(*conditions)
        rows: Sequence[Row[Any]] = self._connection.execute(query).all()
        return Page([_record(row) for row in rows], self._connection.execute(total).scalar_one())

    def counts(self) -> dict[Status, int]:
        """Return the number of deployments of each status."""
        return {
            status: self._connection.execute(
                select(func.count()).select_from(tables.deployments).where(_has(status))
            ).scalar_one()
            for status in Status
        }

    def add(self, deployment: Deployment) -> None:
        """Insert a deployment. Raises IntegrityError when its model id is taken."""
        self._connection.execute(insert(tables.deployments).values(_values(deployment)))

    def put(self, deployment: Deployment) -> None:
        """Overwrite the deployment of the same id."""
        self._connection.execute(
            update(tables.deployments).where(_columns.id == deployment.id).values(_values(deployment))
        )

    def remove(self, deployment_id: str) -> None:
        """Delete the deployment with its replicas and load reports."""
        self._connection.execute(delete(tables.demands).where(tables.demands.c.deployment_id == deployment_id))
        self._connection.execute(delete(tables.replicas).where(tables.replicas.c.deployment_id == deployment_id))
        self._connection.execute(delete(tables.deployments).where(_columns.id == deployment_id))


def _has(status: Status) -> ColumnElement[bool]:
    """Return ``records.status_of`` as an SQL condition; a test keeps the two equal."""
    ready = exists().where(
        tables.replicas.c.deployment_id == _columns.id, tables.replicas.c.state == ReplicaState.READY.value
    )
    stopped = _columns.removal.is_not(None) | (_columns.replicas == 0)
    return {
        Status.STOPPED: stopped,
        Status.RUNNING: ~stopped & ready,
        Status.FAILED: ~stopped & ~ready & _columns.gave_up,
        Status.PENDING: ~stopped & ~ready & ~_columns.gave_up,
    }[status]


def _is_labelled(deployment: Deployment, labels: Mapping[str, str]) -> bool:
    return labels.items() <= deployment.target.config.labels.items()


def _values(deployment: Deployment) -> dict[str, Any]:
    return {
        **{COLUMNS.get(name, name): value for name, value in vars(deployment).items()},
        "model_type": deployment.target.config.model_type,
        "removal": None if deployment.deletion is None else deployment.deletion.value,
    }


def _record(row: Row[Any]) -> Deployment:
    values = dict(row._mapping)
    for extra in ("number", "model_type"):
        del values[extra]
    values["removal"] = None if values["removal"] is None else Deletion(values["removal"])
    return Deployment(**{FIELDS.get(name, name): value for name, value in values.items()})
