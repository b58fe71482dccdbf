"""The tar archive of what a store holds, as ``bentoml push`` sends it: its length first, then its bytes in pieces."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from management.domain.bento_tag import StoredKind
from management.packaging.archives.members import shown
from management.packaging.archives.refusals import ArchiveRefused, ContentChanged
from management.packaging.archives.tree_digest import COMPILED, is_content

PIECE_BYTES: Final = 256 * 1024
"""Bytes that are read at a time."""
_BLOCK: Final = tarfile.BLOCKSIZE
_ENCODING: Final = ("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Pack:
    """The archive of a folder as it was when ``pack`` looked at it."""

    folder: Path
    members: tuple[_Found, ...]
    length: int
    """Bytes of the whole archive."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the archive, exactly as many bytes as its length.

        Raises ContentChanged for a file that is no longer what was found, and OSError for one that cannot be read.
        """
        for found in self.members:
            yield found.header()
            if not found.is_folder:
                yield from _content(self.folder / found.path, found)
        yield bytes(self.length - sum(found.length for found in self.members))


@dataclass(frozen=True)
class _Found:
    """A file or folder of the archive."""

    path: str
    """Relative, by ``/``; empty for the folder itself."""
    mode: int
    size: int
    changed: int
    """Nanoseconds of its last change."""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def length(self) -> int:
        """Bytes in the archive."""
        return len(self.header()) + _padded(self.size, _BLOCK)

    def header(self) -> bytes:
        entry = tarfile.TarInfo(f"./{self.path}" if self.path else ".")
        entry.type = tarfile.DIRTYPE if self.is_folder else tarfile.REGTYPE
        entry.mode, entry.size, entry.mtime = stat.S_IMODE(self.mode), self.size, self.changed // 10**9
        return entry.tobuf(tarfile.PAX_FORMAT, *_ENCODING)


def pack(folder: Path, kind: StoredKind) -> Pack:
    """Return the archive of a stored Bento, without models and what is only of this store, or of a stored model.

    The same folder gives the same bytes. What Python compiled is left out. Raises ArchiveRefused for a link, a device
    or a name that no archive may carry, and OSError.
    """
    members = tuple(_walked(folder, "", kind))
    content = sum(found.length for found in members)
    return Pack(folder, members, _padded(content + 2 * _BLOCK, tarfile.RECORDSIZE))


def _walked(folder: Path, path: str, kind: StoredKind) -> Iterator[_Found]:
    """Yield a folder, and what is in it, sorted by name."""
    yield _found(path, folder.lstat())
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        inner = f"{path}/{entry.name}" if path else entry.name
        if not _belongs(inner, kind):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walked(folder / entry.name, inner, kind)
        else:
            yield _found(inner, entry.stat(follow_symlinks=False))


def _belongs(path: str, kind: StoredKind) -> bool:
    return is_content(path) if kind is StoredKind.BENTO else COMPILED not in path.split("/")


def _found(path: str, status: os.stat_result) -> _Found:
    if stat.S_ISLNK(status.st_mode):
        raise ArchiveRefused("archive_link", shown(path))
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ArchiveRefused("archive_device", shown(path))
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return _Found(path, status.st_mode, size, status.st_mtime_ns)


def _content(file: Path, found: _Found) -> Iterator[bytes]:
    """Yield the content of a file, and what fills its last block."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise ContentChanged(found.path) from None
    with os.fdopen(descriptor, "rb", buffering=0) as source:
        _check_unchanged(source, found)
        left = found.size
        while left:
            piece = source.read(min(left, PIECE_BYTES))
            if not piece:
                raise ContentChanged(found.path)
            left -= len(piece)
            if not left:
                _check_unchanged(source, found)  # before the last piece: afterwards the archive would look whole
            yield piece
    yield bytes(-found.size % _BLOCK)


def _check_unchanged(source: BinaryIO, found: _Found) -> None:
    status = os.fstat(source.fileno())
    if (status.st_mode, status.st_size, status.st_mtime_ns) != (found.mode, found.size, found.changed):
        raise ContentChanged(found.path)


def _padded(size: int, block: int) -> int:
    return size + -size % block
