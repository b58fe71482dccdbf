"""Tables of what is encrypted before it comes here: secrets, and what all control planes have in common."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from management.domain.secrets import Secret
from management.store import tables

_columns = tables.secrets.c
_identity_columns = tables.identities.c


class SecretRepository:
    """Reads and writes secrets. Lists are in the order of their names."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Secret | None:
        """Return the secret of that name; None where there is no such secret."""
        row = self._connection.execute(select(tables.secrets).where(_columns.name == name)).one_or_none()
        return None if row is None else _record(row)

    def all(self) -> list[Secret]:
        """Return all secrets."""
        return [_record(row) for row in self._connection.execute(select(tables.secrets).order_by(_columns.name))]

    def add(self, secret: Secret) -> None:
        """Insert a secret. Raises IntegrityError when its name is taken."""
        self._connection.execute(insert(tables.secrets).values(_values(secret)))

    def put(self, secret: Secret) -> None:
        """Overwrite the secret of the same name."""
        self._connection.execute(update(tables.secrets).where(_columns.name == secret.name).values(_values(secret)))

    def remove(self, name: str) -> None:
        """Delete the secret of that name."""
        self._connection.execute(delete(tables.secrets).where(_columns.name == name))


class IdentityRepository:
    """Reads and writes sealed values by name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, bytes]:
        """Return all sealed values by name."""
        return {row.name: row.sealed for row in self._connection.execute(select(tables.identities))}

    def add(self, name: str, sealed: bytes) -> None:
        """Insert a value. Raises IntegrityError when its name is taken."""
        self._connection.execute(insert(tables.identities).values(name=name, sealed=sealed))

    def put(self, name: str, sealed: bytes) -> None:
        """Overwrite the value of the same name."""
        self._connection.execute(update(tables.identities).where(_identity_columns.name == name).values(sealed=sealed))


def _values(secret: Secret) -> dict[str, Any]:
    names = {"variables": list(secret.variables), "files": list(secret.files), "paths": dict(secret.paths)}
    return {**vars(secret), **names}


def _record(row: Row[Any]) -> Secret:
    values = dict(row._mapping)
    return Secret(**{**values, "variables": tuple(values["variables"]), "files": tuple(values["files"])})
