"""SQLite: one file with a write-ahead log, for the servers of one machine."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event, text
from typing_extensions import override

from management.faults.disk import is_full
from management.store.databases.database import BUSY_SECONDS, Database, Transaction

BUSY_PAUSE_SECONDS: Final = 0.02
"""Seconds between two attempts to change a new database's journal mode."""


class SqliteDatabase(Database):
    """A file of mode 0600, or a database in memory."""

    def __init__(self, url: str, file: Path | None, busy_seconds: float) -> None:
        self._file = file
        try:
            self.prepare()
        except OSError as error:
            if not is_full(error):  # on a full disk the file is created later
                raise
        self.engine = create_engine(url, connect_args={"timeout": busy_seconds})
        event.listen(self.engine, "connect", _configure)

    @property
    @override
    def place(self) -> str:
        return "memory" if self._file is None else str(self._file.parent)

    @override
    def prepare(self) -> None:
        """Create the file with mode 0600 before SQLite does: it holds digests of keys and models' environments."""
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file.touch(mode=0o600, exist_ok=True)

    @override
    def enter(self, connection: Connection, transaction: Transaction) -> None:
        connection.execute(text("BEGIN IMMEDIATE" if transaction.writing else "BEGIN"))


def _configure(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin explicitly, not when the driver decides
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """Set the journal mode, and try again while it is refused.

    When several processes open a new database at once, SQLite refuses this change to some of them without waiting.
    It does not refuse it for a database that is in this mode already.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)
        else:
            return
