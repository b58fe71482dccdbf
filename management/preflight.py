"""What would keep a server from starting, found before it is started, in one sentence each.

A server that cannot start is started again by what watches over it, for ever; its log says why in tracebacks.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from management.backup.swap import interrupted
from management.settings import Settings

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
VERSIONS: Final = "alembic_version"
"""The table in which a database says how far it was migrated."""
LIBRARIES: Final = {"docker": "docker", "bentocloud": "bentoml"}
"""What a backend needs installed."""


def wrong_settings(error: ValidationError) -> str:
    """A sentence that names every wrong setting, and never shows what it holds: one of them is a key."""
    return f"a setting is wrong: {'; '.join(_wrong(error))}"


def _wrong(error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_url=False, include_input=False):
        message = one["msg"].removeprefix("Value error, ")
        # What several settings do not fit together in has no place of its own.
        yield f"ATELIER_{str(one['loc'][0]).upper()}: {message}" if one["loc"] else message


def obstacles(settings: Settings) -> list[str]:
    """Why a server with these settings could not start; nothing is left behind."""
    return [*_home(settings), *_database(settings), *_backend(settings)]


def _home(settings: Settings) -> Iterator[str]:
    home = settings.home.absolute()
    if (reason := interrupted(home)) is not None:
        yield reason
    existing = next(one for one in (home, *home.parents) if one.exists())
    if (reason := _unwritable(existing)) is not None:
        yield f"ATELIER_HOME cannot be written: {reason}: {home}"


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder. Tried, for its permissions do not show a read-only file system."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return None if error.errno in FULL else error.strerror  # on a full disk a server starts, and says so


def _database(settings: Settings) -> Iterator[str]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(settings.database)
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            yield f"ATELIER_DATABASE_URL: {url.drivername!r} is neither sqlite nor postgresql"
            return
        url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        yield f"ATELIER_DATABASE_URL: there is no driver {url.drivername!r}"
    except ArgumentError:
        yield "ATELIER_DATABASE_URL is no SQLAlchemy URL, such as postgresql+psycopg://user@host/name"
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
        yield f"{file} is no SQLite database"


def _newer(file: Path, versions: set[str]) -> Iterator[str]:
    """A database that a newer server has migrated cannot be read by this one."""
    from management.store.migrate import revisions

    if versions - revisions():
        yield f"{file} was written by a newer version of Atelier; start that one, or restore a back-up of this version"


def _backend(settings: Settings) -> Iterator[str]:
    library = LIBRARIES.get(settings.backend)
    if library is not None and find_spec(library) is None:
        yield f"ATELIER_BACKEND={settings.backend} needs the package {library}, which is not installed"
