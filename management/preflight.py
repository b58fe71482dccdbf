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
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from management.backup.swap import interrupted
from management.bentoml_api.instances import type_file
from management.configuration import Settings
from management.packaging.shared.opening import PACKAGE
from management.settings import ApiSettings, StorageSettings
from management.urls import libpq_url

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, or a used up quota."""
FROM_HOME: Final = "bentocloud"
"""The backend that sends Bentos of this machine's store alone."""
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


def obstacles(settings: Settings, *, lasting: bool = False) -> list[str]:
    """Return the reasons why a server with these settings cannot start. Nothing is changed.

    ``lasting`` leaves out a database that does not answer now: a server starts all the same, and waits for it.
    """
    return [
        *_home(settings.storage),
        *_database(settings.storage, lasting=lasting),
        *_backend(settings),
        *_types(settings.api),
        *_shared(settings),
    ]


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


def _database(storage: StorageSettings, *, lasting: bool) -> Iterator[str]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if (server := libpq_url(storage.database)) is not None:
        yield from _postgresql(server, lasting=lasting)
        return
    try:
        kind = make_url(storage.database).drivername
    except ArgumentError:
        yield "ATELIER_DATABASE_URL is not a URL of a database, such as postgresql://USER:PASSWORD@HOST/NAME"
        return
    if kind.partition("+")[0] not in ("sqlite", "postgresql"):
        yield f"ATELIER_DATABASE_URL: {kind!r} is neither sqlite nor postgresql"
    elif kind not in ("sqlite", "sqlite+pysqlite"):
        yield f"ATELIER_DATABASE_URL: there is no driver {kind!r} here; write sqlite:// or postgresql://"
    elif (file := storage.database_file) is not None:
        yield from _sqlite(file)


def _postgresql(url: str, *, lasting: bool) -> Iterator[str]:
    try:
        from management.store.databases.diagnosis import obstacles
    except ImportError as error:
        yield f"ATELIER_DATABASE_URL: PostgreSQL needs a package that is not installed: {error.name}"
        return
    from management.store.migrate import revisions

    for obstacle in obstacles(url, revisions()):
        if not (lasting and obstacle.passes):
            yield f"ATELIER_DATABASE_URL: {obstacle.reason}"


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
        yield f"ATELIER_BACKEND={settings.server.backend} needs the package {library}: pip install {library}"


def _shared(settings: Settings) -> Iterator[str]:
    url = settings.storage.store_url
    if url is None:
        return
    if settings.server.backend == FROM_HOME:
        yield f"ATELIER_STORE_URL: the backend {FROM_HOME} does not take Bentos from a shared store"
    if find_spec(PACKAGE) is None:
        yield f"ATELIER_STORE_URL needs the package {PACKAGE}: pip install {PACKAGE}"
    if url.startswith("file:") and not Path(unquote(urlsplit(url).path)).is_dir():
        yield "ATELIER_STORE_URL: the folder is not there; mount it, or make it on one control plane"


def _types(api: ApiSettings) -> Iterator[str]:
    try:
        if api.instance_types is not None:
            type_file.read(api.instance_types)
    except type_file.InvalidTypeFile as error:
        yield f"ATELIER_INSTANCE_TYPES: {error}"
