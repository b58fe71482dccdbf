"""Answers under an Idempotency-Key, to be given again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from management.store import tables

KEPT: Final = timedelta(hours=24)

_columns = tables.answers.c


@dataclass(frozen=True)
class RecordedReply:
    """A request that was made, and its answer once it has one."""

    request: str
    running: bool
    status: int
    body: Any


class IdempotencyKeyRepository:
    """By caller and key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, caller: str, key: str, request: str, at: datetime) -> RecordedReply | None:
        """None, and the request is noted; or what is known of the same caller's key."""
        self._forget(at)
        row = self._connection.execute(select(tables.answers).where(*_of(caller, key))).one_or_none()
        if row is not None:
            running = row.running_until is not None and row.running_until > at
            return RecordedReply(row.request, running, row.status, row.body)
        values = {"caller": caller, "key": key, "request": request, "since": at}
        self._connection.execute(insert(tables.answers).values(**values, status=0))
        return None

    def record(self, caller: str, key: str, status: int, body: Any, running_until: datetime | None = None) -> None:
        """The answer; while the request waits for the outcome, what it would be answered now.

        A server that dies in the wait never says that it is over: after ``running_until`` the answer stands.
        """
        values = {"status": status, "body": body, "running_until": running_until}
        self._connection.execute(update(tables.answers).where(*_of(caller, key)).values(values))

    def _forget(self, now: datetime) -> None:
        self._connection.execute(delete(tables.answers).where(_columns.since < now - KEPT))


def _of(caller: str, key: str) -> tuple[Any, ...]:
    return _columns.caller == caller, _columns.key == key
