"""Restores an archive of ``management/backup/archive.py`` into a home that is empty, or whose old state is set aside.

    1. unpack into ``.restore-*`` and check everything     if killed: nothing has changed; the next restore removes it
    2. move the old parts to ``before-DATE``
    3. move the new parts to their places                  if killed in 2 or 3: ``restore.unfinished`` says so

An archive is untrusted until it is checked. Only regular files are extracted, only under names that a back-up gives,
into a private folder, and all of them must match the manifest. An error in 2 or 3 undoes both
(``management/backup/swap.py``). No old part is deleted; an operator moves it back, or removes it.

``before-DATE`` is inside each folder, not beside it: the folders are mount points in containers, and hold files that no
archive has, such as tokens. ``tarfile.data_filter`` is not used: it accepts links and names that are refused here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from management.auth.bootstrap_key import FILE
from management.backup import server_database
from management.backup.archive import (
    CHUNK,
    DATABASE,
    FORMAT,
    INSTANCE,
    INSTANCE_FILE,
    KEY,
    MANIFEST,
    PRIVATE,
    STORES,
    Contents,
)
from management.backup.errors import BackupError
from management.backup.swap import is_taken, swap
from management.packaging.build import LOCK
from management.settings import StorageSettings

STAGE: Final = ".restore-"
"""Prefix of the folders that an archive is unpacked into."""
MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the longest manifest that is read."""
SPARE_BYTES: Final = 256 * 1024 * 1024
"""Bytes of the disk that a restore leaves free."""
MAX_NAME_CHARACTERS: Final = 1024
"""Characters of the longest file name in an archive."""
VERSIONS: Final = Path(__file__).parents[1] / "store" / "migrations" / "versions"
"""Folder of the migrations, whose names begin with the versions of the database."""
_PART: Final = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f\x7f]{1,255}\Z")
_LOG_SUFFIXES: Final = ("-wal", "-shm", "-journal")
"""Suffixes of SQLite's files beside a database that was not closed."""


@dataclass(frozen=True)
class Restored:
    """Result of a restore."""

    contents: Contents
    set_aside: tuple[Path, ...]
    """Folders with the old state, the earliest first."""


def restore(storage: StorageSettings, file: IO[bytes], *, force: bool = False) -> Restored:
    """Restore the whole archive, or nothing. Raises BackupError or OSError.

    A home that is not empty is refused without ``force``; with it, the old state is set aside. No server may run on
    these folders.
    """
    with _alone(storage.home / "restore.lock"), _alone(storage.bentoml_home / LOCK):
        _refuse_while_served(storage, force=force)
        if not force and (taken := [str(place) for place in _places(storage).values() if is_taken(place)]):
            raise BackupError(f"these exist already: {', '.join(taken)}; --force sets them aside")
        with _stages(storage) as stages:
            contents = _unpack(file, stages)
            _check_database(stages["state"] / "atelier.db", exists=DATABASE in contents.files)
            parts = _parts(storage, stages, contents)
            with _database_replaced(storage, stages["state"], contents) as (aside, commit):
                return Restored(contents, swap(storage.home, parts, _logs(storage, parts), aside, commit))


@contextmanager
def _database_replaced(
    storage: StorageSettings, stage: Path, contents: Contents
) -> Iterator[tuple[list[Path], Callable[[], None]]]:
    """Give what is set aside of a server's database, and what commits its replacement; nothing for a file."""
    if storage.database_file is not None or DATABASE not in contents.files:
        yield [], _nothing
        return
    (stage / "before").mkdir()
    aside = stage / "before" / "atelier.db"
    with server_database.replaced(storage.database, stage / "atelier.db", aside) as commit:
        yield [aside], commit


def _nothing() -> None:
    """Commit nothing."""


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold a folder's lock: no other restore runs, and no build adds Bentos to a store that is set aside."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{file.parent} is in use: a restore, a back-up or a build is running") from None
        yield


def _places(storage: StorageSettings) -> dict[str, Path]:
    """Return the place of each part of an archive, by its name."""
    stores = {f"store/{name}": storage.bentoml_home / name for name in STORES}
    state = {
        INSTANCE: storage.home / INSTANCE_FILE,
        KEY: storage.home / FILE,
        DATABASE: storage.database_file,
    }
    return stores | {name: place for name, place in state.items() if place is not None}


def _refuse_while_served(storage: StorageSettings, *, force: bool) -> None:
    """Raise BackupError while a server runs: it renews its lease every second."""
    database = storage.database_file
    if database is None:
        server_database.check_free(storage.database, force=force)
        return
    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database)) as connection:
            held = connection.execute("SELECT max(held_until) FROM leases").fetchone()[0]
    except sqlite3.Error:
        return  # no server can use a database that cannot be read
    if held is not None and held > time.time():
        raise BackupError(f"a server manages {storage.home}: stop it first")


@contextmanager
def _stages(storage: StorageSettings) -> Iterator[dict[str, Path]]:
    """Make private folders on the file systems of the places, and remove those of a killed restore."""
    parents = {"state": storage.home, "store": storage.bentoml_home}
    for leftover in {folder for parent in parents.values() for folder in parent.glob(f"{STAGE}*")}:
        shutil.rmtree(leftover)
    with ExitStack() as stack:
        yield {
            name: Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent, prefix=STAGE)))
            for name, parent in parents.items()
        }


def _unpack(file: IO[bytes], stages: dict[str, Path]) -> Contents:
    """Extract the archive's files into the stages, and return its contents. Raises BackupError for an invalid one."""
    extracted: dict[str, dict[str, Any]] = {}
    manifest = b""
    try:
        with tarfile.open(fileobj=file, mode="r|gz") as archive:
            for member in archive:
                data = _data(archive, member)
                if manifest:
                    raise BackupError(f"{_shown(member.name)} comes after the manifest")
                if member.name == MANIFEST:
                    manifest = data.read(MANIFEST_BYTES)
                    continue
                if member.name in extracted:
                    raise BackupError(f"{member.name} is in the archive twice")
                extracted[member.name] = _extract(data, member, _stage(member.name, stages))
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename:  # an error of the disk, not of the archive
            raise
        raise BackupError(f"this is not a complete back-up archive: {error}") from None
    return _checked_contents(manifest, extracted)


def _data(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    data = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if data is None:
        raise BackupError(f"{_shown(member.name)} is not a regular file")
    return data


def _stage(name: str, stages: dict[str, Path]) -> Path:
    """Return the path in a stage for a member. Raises BackupError for a name that no back-up has."""
    parts = name.split("/")
    known = name in (DATABASE, KEY, INSTANCE) or (parts[0] == "store" and len(parts) > 2 and parts[1] in STORES)
    if not known or len(name) > MAX_NAME_CHARACTERS or not all(map(_PART.match, parts)):
        raise BackupError(f"{_shown(name)} has no place in a back-up")
    return stages[parts[0]].joinpath(*parts[1:])


def _extract(data: IO[bytes], member: tarfile.TarInfo, target: Path) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if member.size > shutil.disk_usage(target.parent).free - SPARE_BYTES:
        raise BackupError(f"there is not enough disk space for {member.name}: {member.size} bytes")
    mode = PRIVATE | (member.mode & 0o100)
    digest, size = hashlib.sha256(), 0
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as out:
        while part := data.read(CHUNK):
            digest.update(part)
            size += len(part)
            out.write(part)
    return {"size": size, "sha256": digest.hexdigest()}


def _checked_contents(manifest: bytes, extracted: dict[str, dict[str, Any]]) -> Contents:
    try:
        description = json.loads(manifest)
        version, contents = description["format"], Contents(str(description["made_at"]), description["files"])
    except (ValueError, KeyError, TypeError):
        raise BackupError("the archive has no manifest: it is not a back-up, or was cut off") from None
    if version != FORMAT:
        raise BackupError(f"the archive has format {_shown(version)}, and this version reads {FORMAT}")
    if contents.files != extracted:
        raise BackupError("the archive's files do not match its manifest")
    return contents


def _check_database(copy: Path, *, exists: bool) -> None:
    if not exists:
        return
    try:
        with closing(sqlite3.connect(copy)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            version = str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise BackupError(f"the archive's database cannot be read: {error}") from None
    if not sound:
        raise BackupError("the archive's database is damaged")
    if not any(file.name.startswith(f"{version}_") for file in VERSIONS.glob("*.py")):
        raise BackupError(f"the archive's database is of a newer version: {_shown(version)}")


def _parts(storage: StorageSettings, stages: dict[str, Path], contents: Contents) -> dict[Path, Path]:
    """Return the unpacked parts of the archive, by the places that they belong in."""
    return {
        place.absolute(): stages[name.split("/")[0]] / name.split("/")[1]
        for name, place in _places(storage).items()
        if any(file == name or file.startswith(f"{name}/") for file in contents.files)
    }


def _logs(storage: StorageSettings, parts: dict[Path, Path]) -> list[Path]:
    """Return the old database's logs, which SQLite would take for those of the new one."""
    database = storage.database_file
    if database is None or database.absolute() not in parts:
        return []
    return [database.with_name(database.name + end) for end in _LOG_SUFFIXES]


def _shown(text: object) -> str:
    return ascii(str(text)[:100])
