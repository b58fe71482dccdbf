"""Table of replies under an Idempotency-Key, which are sent again when a request is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from management.store import tables

KEPT: Final = timedelta(hours=24)
"""Time for which a reply is kept."""

_columns = tables.answers.c


@dataclass(frozen=True)
class RecordedReply:
    """A request under a key, and its reply so far."""

    request: str
    running: bool
    status: int
    body: Any


class IdempotencyKeyRepository:
    """Reads and writes replies by caller and key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, caller: str, key: str, request: str, now: datetime) -> RecordedReply | None:
        """Record the request and return None; or return the reply that is recorded for this caller and key."""
        self._delete_old(now)
        row = self._connection.execute(select(tables.answers).where(*_of(caller, key))).one_or_none()
        if row is not None:
            running = row.running_until is not None and row.running_until > now
            return RecordedReply(row.request, running, row.status, row.body)
        values = {"caller": caller, "key": key, "request": request, "since": now}
        self._connection.execute(insert(tables.answers).values(**values, status=0))
        return None

    def record(self, caller: str, key: str, status: int, body: Any, running_until: datetime | None = None) -> None:
        """Record the reply. While the request still waits for an outcome, this is the reply it would get now.

        A server that dies while it waits never records the end, so the reply is final after ``running_until``.
        """
        values = {"status": status, "body": body, "running_until": running_until}
        self._connection.execute(update(tables.answers).where(*_of(caller, key)).values(values))

    def _delete_old(self, now: datetime) -> None:
        self._connection.execute(delete(tables.answers).where(_columns.since < now - KEPT))


def _of(caller: str, key: str) -> tuple[Any, ...]:
    return _columns.caller == caller, _columns.key == key
