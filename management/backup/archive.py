"""Writes one archive of all that a server keeps: its database, its keys, its models and its Bentos.

    manifest.json           the files with sizes and SHA-256 digests; it is last, because they are known only then
    state/atelier.db        the database at one moment, copied while it is in use; also that of PostgreSQL, as SQLite
    state/admin.key         the generated admin key
    state/instance.secret   the secret by which a server recognizes its replicas on an engine or on BentoCloud
    store/models/...        BentoML's model store
    store/bentos/...        BentoML's Bento store

Secrets are in the database as they are stored there, encrypted. The file with their keys is not in the archive.

``management/backup/restore.py`` reads it.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from management.auth.bootstrap_key import FILE
from management.backup import server_database
from management.backup.errors import BackupError
from management.domain.clock import now, shown
from management.packaging.build import LOCK
from management.settings import StorageSettings

FORMAT: Final = 1
"""Version of the archive's format."""
MANIFEST: Final = "manifest.json"
DATABASE: Final = "state/atelier.db"
KEY: Final = f"state/{FILE}"
INSTANCE_FILE: Final = "instance.secret"
INSTANCE: Final = f"state/{INSTANCE_FILE}"
STORES: Final = ("models", "bentos")
CHUNK: Final = 1024 * 1024
"""Bytes that are copied at a time."""
PRIVATE: Final = 0o600
"""Mode of files that only their owner may read and write."""
BUSY_SECONDS: Final = 30.0
"""Seconds that copying the database waits for a writer."""


@dataclass
class Contents:
    """Contents of an archive."""

    made_at: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """``size`` in bytes and ``sha256`` of each file, by name."""

    def summary(self) -> dict[str, Any]:
        """Return an overview for the operator, after a back-up or a restore."""
        return {
            "made_at": self.made_at,
            "database": DATABASE in self.files,
            "admin_key": KEY in self.files,
            "models": self._items("models"),
            "bentos": self._items("bentos"),
            "bytes": sum(file["size"] for file in self.files.values()),
        }

    def _items(self, store: str) -> int:
        """Return the number of items with a version in a store; the file ``latest`` beside them is none."""
        parts = (name.split("/") for name in self.files if name.startswith(f"store/{store}/"))
        return len({tuple(path[2:4]) for path in parts if len(path) > 4})


def has_secrets(storage: StorageSettings) -> bool:
    """Return whether the database has secrets, which only the key file opens."""
    database = storage.database_file
    if database is None:
        return server_database.has_secrets(storage.database)
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute("SELECT 1 FROM secrets").fetchone() is not None
    except sqlite3.Error:  # of an earlier version, which has no such table
        return False


def back_up(storage: StorageSettings, target: Path) -> Contents:
    """Write the archive to a file of mode 0600, atomically. Raises BackupError or OSError."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # of mode 0600
    try:
        with open(handle, "wb") as file:
            contents = write(storage, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return contents


def write(storage: StorageSettings, file: IO[bytes]) -> Contents:
    """Write the archive to a stream, which may be a pipe. Raises BackupError or OSError."""
    contents = Contents(shown(now()))
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        # The database first: the Bentos that it names are then in a store that is read later.
        _add_state(archive, contents, storage)
        with _unchanged(storage.bentoml_home):
            for name in STORES:
                _add_store(archive, contents, storage.bentoml_home / name, f"store/{name}")
        if not contents.files:
            raise BackupError(f"nothing is kept in {storage.home} or {storage.bentoml_home}")
        description = {"format": FORMAT, "made_at": contents.made_at, "files": contents.files}
        manifest = json.dumps(description, ensure_ascii=True).encode()
        archive.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))
    return contents


def _add_state(archive: tarfile.TarFile, contents: Contents, storage: StorageSettings) -> None:
    database = storage.database_file
    if database is None or database.is_file():
        storage.database_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=storage.database_folder, prefix=".backup-") as folder:
            copy = Path(folder) / "atelier.db"
            if database is None:
                server_database.copy_to(storage.database, copy)
            else:
                _copy_database(database, copy)
            _add(archive, contents, copy, DATABASE)
    for name, file in ((KEY, storage.home / FILE), (INSTANCE, storage.home / INSTANCE_FILE)):
        if file.is_file():
            _add(archive, contents, file, name)


def _copy_database(database: Path, copy: Path) -> None:
    """Copy the database at one moment, while it may be written to."""
    try:
        with (
            closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # a single file without a write-ahead log
    except sqlite3.Error as error:
        raise BackupError(f"the database {database} cannot be copied: {error}") from None


@contextmanager
def _unchanged(home: Path) -> Iterator[None]:
    """Lock the store, so that no model or Bento is added while the block runs."""
    if not home.is_dir():
        yield
        return
    with (home / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _add_store(archive: tarfile.TarFile, contents: Contents, folder: Path, name: str) -> None:
    for parent, folder_names, file_names in os.walk(folder):
        folder_names.sort()
        for file_name in sorted(file_names):
            file = Path(parent) / file_name
            _add(archive, contents, file, f"{name}/{file.relative_to(folder).as_posix()}")
        for folder_name in folder_names:
            if (Path(parent) / folder_name).is_symlink():
                raise BackupError(f"{Path(parent) / folder_name} is a link, not a folder")


def _add(archive: tarfile.TarFile, contents: Contents, path: Path, name: str) -> None:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BackupError(f"{path} is not a regular file")
        counted = _Digesting(file)
        member = _member(name, status.st_size)
        member.mode = PRIVATE | (status.st_mode & 0o111 if name.startswith("store/") else 0)
        member.mtime = status.st_mtime
        archive.addfile(member, counted)
    contents.files[name] = {"size": status.st_size, "sha256": counted.digest.hexdigest()}


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, PRIVATE
    return member


class _Digesting(io.RawIOBase):
    """A file that computes its digest while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.digest.update(part)
        return part
