"""Checks before a server starts: each obstacle is reported in one sentence.

Without them, a process manager would restart a failing server for ever, and only tracebacks would say why.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from management.backup.swap import interrupted
from management.configuration import Settings
from management.settings import StorageSettings

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, or a used up quota."""
VERSIONS: Final = "alembic_version"
"""Table with the version that a database was migrated to."""


def wrong_settings(error: ValidationError) -> str:
    """Return a sentence with every wrong setting, without its value: one of them is a key."""
    return f"a setting is wrong: {'; '.join(_wrong(error))}"


def _wrong(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        message = problem["msg"].removeprefix("Value error, ")
        # A conflict of several settings has no location.
        yield f"{_variable(*problem['loc'])}: {message}" if problem["loc"] else message


def _variable(*location: int | str) -> str:
    """Return the environment variable of a field: the location names it after the groups that it is in."""
    *groups, name = map(str, location)
    group: Any = Settings
    for part in groups:
        group = group.model_fields[part].annotation
    return f"{group.model_config.get('env_prefix', 'ATELIER_')}{name}".upper()


def obstacles(settings: Settings) -> list[str]:
    """Return the reasons why a server with these settings cannot start. Nothing is changed."""
    return [*_home(settings.storage), *_database(settings.storage), *_backend(settings)]


def _home(storage: StorageSettings) -> Iterator[str]:
    home = storage.home.absolute()
    if (reason := interrupted(home)) is not None:
        yield reason
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if (reason := _unwritable(existing)) is not None:
        yield f"ATELIER_HOME cannot be written: {reason}: {home}"


def _unwritable(folder: Path) -> str | None:
    """Return why a folder cannot be written. Its permissions would not show a read-only file system, so it is tried."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return None if error.errno in FULL else error.strerror  # a server starts on a full disk and reports it


def _database(storage: StorageSettings) -> Iterator[str]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(storage.database)
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            yield f"ATELIER_DATABASE_URL: {url.drivername!r} is neither sqlite nor postgresql"
            return
        url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        yield f"ATELIER_DATABASE_URL: there is no driver {url.drivername!r}"
    except ArgumentError:
        yield "ATELIER_DATABASE_URL is not an SQLAlchemy URL, such as postgresql+psycopg://user@host/name"
    except ImportError as error:
        yield f"ATELIER_DATABASE_URL: {url.drivername!r} needs a package that is not installed: {error.name}"
    else:
        if url.get_backend_name() == "sqlite" and url.database:
            yield from _sqlite(Path(url.database))


def _sqlite(file: Path) -> Iterator[str]:
    import sqlite3

    if not file.exists():
        return
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if VERSIONS in tables:
                yield from _newer(file, {version for (version,) in connection.execute(f"SELECT * FROM {VERSIONS}")})  # noqa: S608
        finally:
            connection.close()
    except sqlite3.OperationalError:
        if not os.access(file, os.R_OK | os.W_OK):
            yield f"{file} cannot be read and written by this user"
    except sqlite3.DatabaseError:
        yield f"{file} is not an SQLite database"


def _newer(file: Path, versions: set[str]) -> Iterator[str]:
    """Yield an obstacle if a newer version migrated the database, which this version cannot read."""
    from management.store.migrate import revisions

    if versions - revisions():
        yield f"{file} was written by a newer version of Atelier; start that one, or restore a back-up of this version"


def _backend(settings: Settings) -> Iterator[str]:
    library = settings.backend.library
    if library is not None and find_spec(library) is None:
        yield f"ATELIER_BACKEND={settings.server.backend} needs the package {library}, which is not installed"
