"""The sources of one codespace, as its client has sent them.

A file is replaced by one rename and never written again: the Bentos that are made of it share it.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives import members
from management.packaging.archives.refusals import ArchiveRefused
from management.packaging.archives.room import Room, full_disk_named
from management.packaging.build import BentoHome
from management.packaging.pushes import records
from management.packaging.pushes.refusals import InvalidPath, TooMuch
from management.settings import BentoSettings

FOLDER: Final = "codespaces"
"""Folder of all codespaces, beside the records of pushes."""
READY: Final = ".project_ready"
"""File that a client sends once all others have arrived."""
_FILES: Final = "files"
_LOCK: Final = "lock"
_STATE: Final = "codespace.json"
_ID: Final = re.compile(r"[0-9a-f]{12}")
_NAME: Final = re.compile(rf"codespace-({_ID.pattern})")


@dataclass(frozen=True)
class SourceFile:
    """A file of a codespace."""

    path: str
    size: int
    """Bytes."""
    md5: str
    """What the client compares: the MD5 of the content, in hexadecimal digits."""


@dataclass(frozen=True)
class CodespaceState:
    """How far a codespace is."""

    manifest: Mapping[str, Any] = field(default_factory=dict)
    """What the client says of the Bento."""
    number: int = 0
    """Number of the Bento that was made last."""
    is_complete: bool = False
    """Whether all files have arrived, so that every further one makes a new Bento."""
    digest: str = ""
    """Digest of the files and the manifest that the last Bento was made of."""


class Codespace:
    """One codespace. All methods block; those that change it, or read more than one thing, need its lock."""

    def __init__(self, home: BentoHome, codespace_id: str) -> None:
        self.id = codespace_id
        self._home = home
        self._folder = root_of(home) / codespace_id
        self._files = self._folder / _FILES

    @classmethod
    def new(cls, home: BentoHome, manifest: Mapping[str, Any]) -> Codespace:
        """Make a codespace without files. Raises TooLong and OSError."""
        codespace = cls(home, secrets.token_hex(6))
        records.folder_of(home, FOLDER, codespace.id, _FILES)
        with codespace.locked():
            codespace.write(CodespaceState(manifest))
        return codespace

    def age(self, now: float) -> float:
        """Return the seconds since its state last changed, at that Unix time."""
        return records.age(self._folder / _STATE, now)

    def exists(self) -> bool:
        """Return whether its folder is there."""
        return (self._folder / _STATE).is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the codespace's lock."""
        with (self._folder / _LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def state(self) -> CodespaceState:
        """Return the state."""
        content = records.read(self._folder / _STATE) or {}
        known = {name: content[name] for name in CodespaceState.__dataclass_fields__ if name in content}
        return CodespaceState(**known)

    def write(self, state: CodespaceState) -> None:
        """Keep the state. Raises TooLong and OSError."""
        records.write(self._folder / _STATE, asdict(replace(state, manifest=dict(state.manifest))))

    def files(self) -> list[SourceFile]:
        """Return the files, sorted by path."""
        return [
            SourceFile(path, file.stat().st_size, hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest())
            for path, file in self.paths()
        ]

    def paths(self) -> list[tuple[str, Path]]:
        """Return the relative path and the place of each file, sorted by path."""
        found = (file for file in self._files.rglob("*") if file.is_file() and not file.is_symlink())
        return sorted((file.relative_to(self._files).as_posix(), file) for file in found)

    def put(self, given: Mapping[str, bytes], limits: BentoSettings) -> None:
        """Keep the files, by their relative paths.

        Raises InvalidPath, TooMuch and DiskFull.
        """
        wanted = {_relative(path): content for path, content in given.items()}
        sizes = {path: file.stat().st_size for path, file in self.paths()}
        sizes |= {path: len(content) for path, content in wanted.items()}
        if len(sizes) > limits.files or sum(sizes.values()) > limits.unpacked_bytes:
            raise TooMuch
        with full_disk_named():
            Room(self._folder).require(sum(map(len, wanted.values())))
            for path, content in wanted.items():
                self._put(path, content)

    def _put(self, path: str, content: bytes) -> None:
        target, new = self._files / path, self._folder / f".{secrets.token_hex(8)}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(content)
            new.rename(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):  # a file where a folder is to be
            raise InvalidPath(members.shown(path)) from None
        finally:
            new.unlink(missing_ok=True)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove the files that are there. Raises InvalidPath."""
        for path in [_relative(path) for path in paths]:
            file = self._files / path
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
                file.unlink()

    def take_away(self) -> None:
        """Remove the codespace with all its files; the Bentos that were made of them stay."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def tag(self, number: int) -> Tag:
        """Return the tag of the Bento that is made as that number: all of a codespace have a name of their own."""
        return Tag(f"codespace-{self.id}", str(number))


def root_of(home: BentoHome) -> Path:
    """Return the folder of all codespaces, which may be missing."""
    return home.home / records.FOLDER / FOLDER


def names_of_bentos(home: BentoHome) -> list[tuple[str, Codespace]]:
    """Return the names of Bentos in the store that codespaces were made into, with their codespaces, gone or not."""
    found = (
        (folder.name, _NAME.fullmatch(folder.name)) for folder in (home.home / StoredKind.BENTO).glob("codespace-*")
    )
    return [(name, Codespace(home, match[1])) for name, match in found if match]


def made_of(home: BentoHome, tag: Tag) -> Codespace | None:
    """Return the codespace that a Bento was made of; None for any other Bento, and where the codespace has gone."""
    found = _NAME.fullmatch(tag.name)
    if found is None or not (codespace := Codespace(home, found[1])).exists():
        return None
    return codespace


def _relative(path: str) -> str:
    """Return the path as it is kept. Raises InvalidPath for one that leads out of the codespace, or to no file."""
    try:
        if relative := members.relative(path):
            return relative
    except ArchiveRefused:
        pass
    raise InvalidPath(members.shown(path))
