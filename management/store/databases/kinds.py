"""Which kind of database a URL names."""

from __future__ import annotations

from management.store.databases.database import Database
from management.store.databases.sqlite import SqliteDatabase
from management.urls import libpq_url, sqlite_file


def of_url(url: str, busy_seconds: float) -> Database:
    """Return the database of a URL, in which a writer waits so many seconds for another one.

    Raises ImportError where its driver is not installed.
    """
    server = libpq_url(url)
    if server is None:
        return SqliteDatabase(url, sqlite_file(url), busy_seconds)
    from management.store.databases.postgresql import PostgresqlDatabase  # its driver is an extra

    return PostgresqlDatabase(server, busy_seconds)
