"""Restores what ``management/backup/archive.py`` wrote, into a home that is empty or whose old state is set aside.

    1. unpack into ``.restore-*`` and check everything     killed: nothing has changed, the next restore removes it
    2. set aside what is in the places, in ``before-DATE``
    3. move the new parts into their places                killed in 2 or 3: ``restore.unfinished`` says so

An archive is untrusted data until it is checked: only regular files are taken out of it, under names that this version
itself would have given, into a private folder, and all of them must match the manifest. An error in 2 or 3 undoes both
(``management/backup/swap.py``). Nothing that was there is deleted; an operator moves it back, or removes it.

``before-DATE`` lies inside each folder, and not beside it: the folders are mount points in containers, and hold files
that no archive has, such as tokens. ``tarfile.data_filter`` would add nothing: it lets links and names pass that are
refused here.
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
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from management.auth.bootstrap_key import FILE
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
    BackupError,
    Contents,
    database_file,
)
from management.backup.swap import is_taken, swap
from management.packaging.build import LOCK
from management.settings import Settings

STAGE: Final = ".restore-"  # how the folders begin that an archive is unpacked into
MANIFEST_BYTES: Final = 64 * 1024 * 1024
SPARE_BYTES: Final = 256 * 1024 * 1024  # that the disk keeps
LONGEST_NAME: Final = 1024
VERSIONS: Final = Path(__file__).parents[1] / "store" / "migrations" / "versions"
_PART: Final = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f\x7f]{1,255}\Z")
_LOGS: Final = ("-wal", "-shm", "-journal")  # SQLite's, beside a database that was not closed


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    contents: Contents
    set_aside: tuple[Path, ...]
    """Folders with what was there before, the earliest first."""


def restore(settings: Settings, file: IO[bytes], *, force: bool = False) -> Restored:
    """Put everything of the archive into place, or nothing. Raises BackupError or OSError.

    Without ``force``, a home that holds something is refused; with it, what is there is set aside. A server of these
    folders must not run.
    """
    with _alone(settings.home / "restore.lock"), _alone(settings.bentoml_home / LOCK):
        _refuse_while_served(settings)
        if not force and (there := [str(place) for place in _places(settings).values() if is_taken(place)]):
            raise BackupError(f"there is something already: {', '.join(there)}; --force sets it aside")
        with _stages(settings) as stages:
            contents = _unpack(file, stages)
            _check_database(stages["state"] / "atelier.db", there=DATABASE in contents.files)
            parts = _parts(settings, stages, contents)
            return Restored(contents, swap(settings.home, parts, _logs(settings, parts)))


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold a folder's lock: no second restore, and no build that puts Bentos into a store that is set aside."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{file.parent} is in use: a restore, a back-up or a build is running") from None
        yield


def _places(settings: Settings) -> dict[str, Path]:
    """Where each part of an archive belongs."""
    stores = {f"store/{name}": settings.bentoml_home / name for name in STORES}
    state = {
        INSTANCE: settings.home / INSTANCE_FILE,
        KEY: settings.home / FILE,
        DATABASE: database_file(settings),
    }
    return stores | {name: place for name, place in state.items() if place is not None}


def _refuse_while_served(settings: Settings) -> None:
    """The lease tells: its holder renews it every second."""
    database = database_file(settings)
    if database is None or not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database)) as connection:
            held = connection.execute("SELECT max(held_until) FROM leases").fetchone()[0]
    except sqlite3.Error:
        return  # what cannot be read serves nobody
    if held is not None and held > time.time():
        raise BackupError(f"a server manages {settings.home}: stop it first")


@contextmanager
def _stages(settings: Settings) -> Iterator[dict[str, Path]]:
    """Private folders to unpack into, on the file systems of the places; those of a killed restore are removed."""
    parents = {"state": settings.home, "store": settings.bentoml_home}
    for left in {one for parent in parents.values() for one in parent.glob(f"{STAGE}*")}:
        shutil.rmtree(left)
    with ExitStack() as stack:
        yield {
            name: Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent, prefix=STAGE)))
            for name, parent in parents.items()
        }


def _unpack(file: IO[bytes], stages: dict[str, Path]) -> Contents:
    """The archive's files, below the stages, when they are what its manifest tells."""
    found: dict[str, dict[str, Any]] = {}
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
                if member.name in found:
                    raise BackupError(f"{member.name} is in the archive twice")
                found[member.name] = _extract(data, member, _stage(member.name, stages))
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename:  # the disk's, and not the archive's
            raise
        raise BackupError(f"this is not a complete back-up archive: {error}") from None
    return _as_told(manifest, found)


def _data(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    data = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if data is None:
        raise BackupError(f"{_shown(member.name)} is not a regular file")
    return data


def _stage(name: str, stages: dict[str, Path]) -> Path:
    """Where a member is put for now. Raises BackupError for a name that no back-up has."""
    parts = name.split("/")
    known = name in (DATABASE, KEY, INSTANCE) or (parts[0] == "store" and len(parts) > 2 and parts[1] in STORES)
    if not known or len(name) > LONGEST_NAME or not all(map(_PART.match, parts)):
        raise BackupError(f"{_shown(name)} has no place in a back-up")
    return stages[parts[0]].joinpath(*parts[1:])


def _extract(data: IO[bytes], member: tarfile.TarInfo, target: Path) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if member.size > shutil.disk_usage(target.parent).free - SPARE_BYTES:
        raise BackupError(f"there is no room for {member.name}: {member.size} bytes")
    mode = PRIVATE | (member.mode & 0o100)
    digest, size = hashlib.sha256(), 0
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as out:
        while part := data.read(CHUNK):
            digest.update(part)
            size += len(part)
            out.write(part)
    return {"size": size, "sha256": digest.hexdigest()}


def _as_told(manifest: bytes, found: dict[str, dict[str, Any]]) -> Contents:
    try:
        told = json.loads(manifest)
        version, contents = told["format"], Contents(str(told["made_at"]), told["files"])
    except (ValueError, KeyError, TypeError):
        raise BackupError("the archive has no manifest: it is not a back-up, or was cut off") from None
    if version != FORMAT:
        raise BackupError(f"the archive has format {_shown(version)}, and this version reads {FORMAT}")
    if contents.files != found:
        raise BackupError("the archive's files do not match its manifest")
    return contents


def _check_database(copy: Path, *, there: bool) -> None:
    if not there:
        return
    try:
        with closing(sqlite3.connect(copy)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            version = str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise BackupError(f"the archive's database cannot be read: {error}") from None
    if not sound:
        raise BackupError("the archive's database is damaged")
    if not any(one.name.startswith(f"{version}_") for one in VERSIONS.glob("*.py")):
        raise BackupError(f"the archive's database is of a newer version: {_shown(version)}")


def _parts(settings: Settings, stages: dict[str, Path], contents: Contents) -> dict[Path, Path]:
    """Where each part of the archive belongs, and where it is unpacked."""
    if DATABASE in contents.files and database_file(settings) is None:
        raise BackupError("the archive has an SQLite database, but ATELIER_DATABASE_URL names another kind")
    return {
        place.absolute(): stages[name.split("/")[0]] / name.split("/")[1]
        for name, place in _places(settings).items()
        if any(file == name or file.startswith(f"{name}/") for file in contents.files)
    }


def _logs(settings: Settings, parts: dict[Path, Path]) -> list[Path]:
    """The old database's logs, which SQLite would take for those of the new one."""
    database = database_file(settings)
    if database is None or database.absolute() not in parts:
        return []
    return [database.with_name(database.name + end) for end in _LOGS]


def _shown(text: object) -> str:
    return ascii(str(text)[:100])
