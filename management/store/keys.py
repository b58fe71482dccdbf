"""Table of API keys, stored as digests of their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from management.domain.keys import Key, Role, is_login_of
from management.store import tables

_columns = tables.keys.c


class KeyRepository:
    """Reads and writes keys. Lists are in the order of creation; revoked keys stay."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Key]:
        """Return all keys, including revoked and expired ones."""
        rows = self._connection.execute(select(tables.keys).order_by(_columns.created_at, _columns.id))
        return [Key(**{**row._mapping, "role": Role(row.role)}) for row in rows]

    def add(self, key: Key) -> None:
        """Insert a key."""
        self._connection.execute(insert(tables.keys).values({**vars(key), "role": key.role.value}))

    def revoke(self, key_id: str, at: datetime) -> bool:
        """Revoke a key, and those that command lines got for it.

        Return False when there is none of that id, or it was revoked before.
        """
        condition = (_columns.id == key_id) & _columns.revoked_at.is_(None)
        done = bool(self._connection.execute(update(tables.keys).where(condition).values(revoked_at=at)).rowcount)
        for key in self.all() if done else ():
            if key.revoked_at is None and is_login_of(key, key_id):
                self.revoke(key.id, at)
        return done

    def remove(self, key_id: str) -> None:
        """Delete a key."""
        self._connection.execute(delete(tables.keys).where(_columns.id == key_id))

    def used(self, last: Mapping[str, datetime]) -> None:
        """Record when each of these keys was last used, unless a later use is recorded."""
        for key_id, used_at in last.items():
            earlier = _columns.last_used_at.is_(None) | (
                _columns.last_used_at < used_at
            )  # another worker may have recorded a later use
            self._connection.execute(
                update(tables.keys).where(_columns.id == key_id, earlier).values(last_used_at=used_at)
            )
