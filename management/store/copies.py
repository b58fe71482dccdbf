"""Copies of a whole database, table by table, from a database of any kind into another one of any kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, func, insert, select, text

from management.errors import StoreUnavailable
from management.store import tables
from management.store.migrate import newest
from management.store.store import Session, Store

COPY_SECONDS: Final = 600
"""Seconds that a statement of a copy may take."""
BATCH_ROWS: Final = 1000
"""Rows that are copied at a time."""
COPIED: Final = tuple(table for table in tables.metadata.sorted_tables if table is not tables.leases)
"""The tables in the order of their references. Leases are those of servers that run, which a copy does not have."""


class OtherVersion(StoreUnavailable):
    """The database has the tables of another version."""


def is_empty(session: Session) -> bool:
    """Return whether a database has none but the rows that a new one has."""
    return all(_count(session.connection, table) == 0 for table in COPIED if table is not tables.changes)


def is_served(session: Session) -> bool:
    """Return whether a server runs on the database: it renews its lease every second."""
    lease = session.leases.get()
    return lease is not None and lease.held_until > session.clock.unix()


def are_equal(one: Session, other: Session) -> bool:
    """Return whether two databases have the same rows."""
    pairs = ((_rows(one.connection, table), _rows(other.connection, table)) for table in COPIED)
    return all(list(left) == list(right) for left, right in pairs)


def copy_rows(source: Session, target: Session) -> int:
    """Replace all rows of the target by those of the source, and return their number. Raises OtherVersion.

    Whoever opened the target's transaction commits it.
    """
    for session in (source, target):
        if session.connection.execute(text("SELECT version_num FROM alembic_version")).scalar() != newest():
            raise OtherVersion
    for table in reversed(tables.metadata.sorted_tables):
        target.connection.execute(table.delete())
    copied = 0
    for table in COPIED:
        for batch in _rows(source.connection, table):
            target.connection.execute(insert(table), batch)
            copied += len(batch)
        _advance_sequence(target.connection, table)
    return copied


def copy_to_file(source: Store, file: Path) -> None:
    """Write a database's rows at one moment into a new SQLite file, which is closed afterwards."""
    with closing(Store(f"sqlite:///{file}")) as target:
        target.migrate()
        with (
            source.reading(seconds=COPY_SECONDS) as old,
            target.writing(counted=False, seconds=COPY_SECONDS) as new,
        ):
            copy_rows(old, new)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # a single file without a write-ahead log


def _rows(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Yield a table's rows in the order of their keys, in batches."""
    ordered = select(table).order_by(*table.primary_key.columns)
    result = connection.execute(ordered, execution_options={"yield_per": BATCH_ROWS})
    for batch in result.partitions():
        yield [dict(row._mapping) for row in batch]


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _advance_sequence(connection: Connection, table: Table) -> None:
    """Let the next row that is inserted have the number after the last one; SQLite sees to that by itself."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    last = connection.execute(select(func.max(column))).scalar()
    if last is not None:
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        connection.execute(select(func.setval(sequence, last)))
