"""One archive of all that a server keeps: its database, its keys, its models and its Bentos.

    manifest.json           what is in it, with sizes and SHA-256 digests; the last member, for it is known then
    state/atelier.db        the database of one moment, copied while it is written to
    state/admin.key
    state/instance.secret   by which a server knows as its own what runs on an engine or on BentoCloud
    store/models/...        BentoML's model store
    store/bentos/...        and its Bento store

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

from sqlalchemy.engine import make_url

from management.auth.bootstrap_key import FILE
from management.domain.clock import now, shown
from management.packaging.build import LOCK
from management.settings import Settings

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "state/atelier.db"
KEY: Final = f"state/{FILE}"
INSTANCE_FILE: Final = "instance.secret"
INSTANCE: Final = f"state/{INSTANCE_FILE}"
STORES: Final = ("models", "bentos")
CHUNK: Final = 1024 * 1024
PRIVATE: Final = 0o600
BUSY_SECONDS: Final = 30.0


class BackupError(Exception):
    """Something cannot be backed up or restored; the message says what, and what to do."""


@dataclass
class Contents:
    """What an archive holds, by name."""

    made_at: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """``size`` and ``sha256`` of each."""

    def summary(self) -> dict[str, Any]:
        """For whoever made it, or gets it back."""
        return {
            "made_at": self.made_at,
            "database": DATABASE in self.files,
            "admin_key": KEY in self.files,
            "models": self._items("models"),
            "bentos": self._items("bentos"),
            "bytes": sum(one["size"] for one in self.files.values()),
        }

    def _items(self, store: str) -> int:
        """Those with a version: ``latest`` is a file beside them."""
        parts = (name.split("/") for name in self.files if name.startswith(f"store/{store}/"))
        return len({tuple(one[2:4]) for one in parts if len(one) > 4})


def database_file(settings: Settings) -> Path | None:
    """Where the database is, if it is a file."""
    url = make_url(settings.database)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def back_up(settings: Settings, target: Path) -> Contents:
    """Writes the archive, of mode 0600, whole or not at all. Raises BackupError or OSError."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # of mode 0600
    try:
        with open(handle, "wb") as file:
            contents = write(settings, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return contents


def write(settings: Settings, file: IO[bytes]) -> Contents:
    """Writes the archive to a file that need not be one which can be read again, such as a pipe."""
    contents = Contents(shown(now()))
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        # The database first: what it names is in a store that is read after it.
        _add_state(archive, contents, settings)
        with _unchanged(settings.bentoml_home):
            for name in STORES:
                _add_store(archive, contents, settings.bentoml_home / name, f"store/{name}")
        if not contents.files:
            raise BackupError(f"nothing is kept in {settings.home} or {settings.bentoml_home}")
        told = {"format": FORMAT, "made_at": contents.made_at, "files": contents.files}
        manifest = json.dumps(told, ensure_ascii=True).encode()
        archive.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))
    return contents


def _add_state(archive: tarfile.TarFile, contents: Contents, settings: Settings) -> None:
    database = database_file(settings)
    if database is not None and database.is_file():
        with tempfile.TemporaryDirectory(dir=database.parent, prefix=".backup-") as folder:
            copy = Path(folder) / "atelier.db"
            _copy_database(database, copy)
            _add(archive, contents, copy, DATABASE)
    for name, file in ((KEY, settings.home / FILE), (INSTANCE, settings.home / INSTANCE_FILE)):
        if file.is_file():
            _add(archive, contents, file, name)


def _copy_database(database: Path, copy: Path) -> None:
    """As it was at one moment, whoever writes to it meanwhile."""
    try:
        with (
            closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    except sqlite3.Error as error:
        raise BackupError(f"the database {database} cannot be copied: {error}") from None


@contextmanager
def _unchanged(home: Path) -> Iterator[None]:
    """Nobody puts a model or a Bento into the store while the block runs."""
    if not home.is_dir():
        yield
        return
    with (home / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _add_store(archive: tarfile.TarFile, contents: Contents, folder: Path, name: str) -> None:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for one in sorted(files):
            file = Path(place) / one
            _add(archive, contents, file, f"{name}/{file.relative_to(folder).as_posix()}")
        for one in folders:
            if (Path(place) / one).is_symlink():
                raise BackupError(f"{Path(place) / one} is a link, and no folder")


def _add(archive: tarfile.TarFile, contents: Contents, path: Path, name: str) -> None:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise BackupError(f"{path} is not a regular file")
        counted = _Digesting(file)
        member = _member(name, about.st_size)
        member.mode = PRIVATE | (about.st_mode & 0o111 if name.startswith("store/") else 0)
        member.mtime = about.st_mtime
        archive.addfile(member, counted)
    contents.files[name] = {"size": about.st_size, "sha256": counted.digest.hexdigest()}


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, PRIVATE
    return member


class _Digesting(io.RawIOBase):
    """A file whose digest is known when it has been read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.digest.update(part)
        return part
