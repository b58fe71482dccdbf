"""API keys, as digests of their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from management.domain.keys import Key, Role
from management.store import tables

_columns = tables.keys.c


class KeyRepository:
    """In the order of their creation; revoked ones stay."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Key]:
        """Every one, revoked and expired ones too."""
        rows = self._connection.execute(select(tables.keys).order_by(_columns.created_at, _columns.id))
        return [Key(**{**row._mapping, "role": Role(row.role)}) for row in rows]

    def add(self, key: Key) -> None:
        """A new one."""
        self._connection.execute(insert(tables.keys).values({**vars(key), "role": key.role.value}))

    def revoke(self, key_id: str, at: datetime) -> bool:
        """Whether there was such a key, and it was not revoked before."""
        wanted = (_columns.id == key_id) & _columns.revoked_at.is_(None)
        return bool(self._connection.execute(update(tables.keys).where(wanted).values(revoked_at=at)).rowcount)

    def remove(self, key_id: str) -> None:
        """Delete a key; nothing remembers it."""
        self._connection.execute(delete(tables.keys).where(_columns.id == key_id))

    def used(self, last: Mapping[str, datetime]) -> None:
        """When each of these keys was last used."""
        for key_id, at in last.items():
            earlier = _columns.last_used_at.is_(None) | (_columns.last_used_at < at)  # another worker may know better
            self._connection.execute(update(tables.keys).where(_columns.id == key_id, earlier).values(last_used_at=at))
