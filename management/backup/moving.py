"""Moves the database of a stopped server into another one: SQLite to PostgreSQL, and back."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass

from sqlalchemy.exc import ArgumentError

from management.backup.errors import BackupError
from management.backup.server_database import SERVED, explained
from management.settings import StorageSettings
from management.store import Session, Store
from management.store.copies import COPY_SECONDS, are_equal, copy_rows, is_empty, is_served
from management.urls import libpq_url, sqlite_file


@dataclass(frozen=True)
class Moved:
    """Result of a move."""

    source: str
    target: str
    rows: int
    """Rows that were copied; 0 where the target had all of them already."""


def move(storage: StorageSettings, url: str) -> Moved:
    """Copy all rows of the server's database into the one of the URL, or nothing. Raises BackupError.

    The target has none but the same rows. No server may run on either; the source stays as it is.
    """
    file = storage.database_file
    if file is not None and not file.is_file():
        raise BackupError(f"there is no database in {file}")
    with closing(_opened(storage.database)) as source, closing(_opened(url)) as target:
        with explained(source.place):
            source.migrate()
        with explained(target.place):
            target.migrate()
        # Both are held alone until the end: nothing is added to the source meanwhile that the target would not have.
        with (
            explained(source.place),
            source.writing(counted=False, seconds=COPY_SECONDS) as old,
            explained(target.place),
            target.writing(counted=False, seconds=COPY_SECONDS) as new,
        ):
            for session, place in ((old, source.place), (new, target.place)):
                if is_served(session):
                    raise BackupError(SERVED.format(place=place))
            return Moved(source.place, target.place, _copied(old, new, target.place))


def _copied(old: Session, new: Session, place: str) -> int:
    if is_empty(new):
        return copy_rows(old, new)
    if are_equal(old, new):
        return 0
    raise BackupError(f"the database in {place} has other contents: name one that is empty")


def _opened(url: str) -> Store:
    with suppress(ArgumentError, ImportError, ValueError):
        if libpq_url(url) is not None or (url.startswith("sqlite:///") and sqlite_file(url) is not None):
            return Store(url)
    raise BackupError("a database is named as postgresql://USER@HOST/NAME or sqlite:///FILE, and needs its driver")
