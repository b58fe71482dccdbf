"""Backs up a database that is a server's, and restores it: its rows, because it has no file that could be copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DataError, IntegrityError

from management.backup.errors import BackupError
from management.errors import StoreUnavailable
from management.store import Store
from management.store.copies import COPY_SECONDS, OtherVersion, copy_rows, copy_to_file, is_empty, is_served

SERVED: Final = "a server manages the database in {place}: stop it first"


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn the store's errors into BackupError."""
    try:
        yield
    except OtherVersion:
        raise BackupError(f"the tables in {place} are of another version: start this version on it once") from None
    except StoreUnavailable:
        raise BackupError(f"the database in {place} cannot be used now: python -m management check says why") from None
    except (DataError, IntegrityError):
        raise BackupError(f"the database in {place} cannot hold a value that is to be copied") from None


def copy_to(url: str, file: Path) -> None:
    """Write the database at one moment into an SQLite file. Raises BackupError."""
    with closing(Store(url)) as store, explained(store.place):
        copy_to_file(store, file)


def has_secrets(url: str) -> bool:
    """Return whether the database has secrets; False where it cannot be read."""
    with closing(Store(url)) as store:
        try:
            with store.reading() as session:
                return bool(session.secrets.all())
        except StoreUnavailable:
            return False


def check_free(url: str, *, force: bool) -> None:
    """Raise BackupError while a server runs on the database, or where it has rows and they may not be replaced."""
    with closing(Store(url)) as store, explained(store.place):
        store.migrate()
        with store.reading() as session:
            if is_served(session):
                raise BackupError(SERVED.format(place=store.place))
            if not force and not is_empty(session):
                raise BackupError(f"the database in {store.place} is in use; --force sets its contents aside")


@contextmanager
def replaced(url: str, copy: Path, aside: Path) -> Iterator[Callable[[], None]]:
    """Replace the database's rows by those of an SQLite file. Raises BackupError.

    Gives what commits that; without it, nothing has changed. The rows of before are written into the file ``aside``.
    """
    with closing(Store(url)) as store, closing(Store(f"sqlite:///{copy}")) as restored, explained(store.place):
        copy_to_file(store, aside)
        restored.migrate()
        with restored.reading() as new, store.writing(counted=False, seconds=COPY_SECONDS) as old:
            if is_served(old):  # it has begun meanwhile
                raise BackupError(SERVED.format(place=store.place))
            copy_rows(new, old)

            def commit() -> None:
                with _known(store.place):
                    old.connection.commit()

            yield commit


@contextmanager
def _known(place: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        text = f"the connection to {place} was lost at the end: run the restore again, with --force"
        raise BackupError(text) from None
