"""Unpacks an archive into an empty folder. Every limit holds while it is written, not only at its end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from management.packaging.archives import inflate
from management.packaging.archives.members import Archive, Member
from management.packaging.archives.refusals import ArchiveRefused, Stopped
from management.packaging.archives.room import Room
from management.packaging.archives.tar_archive import TarArchive
from management.packaging.archives.tree_digest import COMPILED, CONTENT_DIGEST, Entry
from management.packaging.archives.zip_archive import ZipArchive
from management.settings import BentoSettings

_HEADER_BYTES: Final = 4096
"""Bytes of a tar archive beside the content of a member: what a well-formed archive needs at most, on average."""


def unpack(
    file: BinaryIO, folder: Path, limits: BentoSettings, room: Room, is_stopped: Callable[[], bool]
) -> list[Entry]:
    """Unpack the archive in the file into the folder, and return its files.

    Raises ArchiveRefused, DiskFull, Stopped, and OSError.
    """
    return _Unpacking(folder, limits, room, is_stopped).run(file)


class _Unpacking:
    def __init__(self, folder: Path, limits: BentoSettings, room: Room, is_stopped: Callable[[], bool]) -> None:
        self._folder, self._limits, self._room, self._is_stopped = folder, limits, room, is_stopped
        self._entries: list[Entry] = []
        self._members = 0
        self._written = 0

    def run(self, file: BinaryIO) -> list[Entry]:
        archive = self._opened(file)
        for member in archive.members():
            self._members += 1
            self._check()
            if member.path and COMPILED not in member.path.split("/") and member.path != CONTENT_DIGEST:
                self._put(member, archive)
        for place, _, _ in os.walk(self._folder):
            Path(place).chmod(0o755)  # whatever this process's umask is; in a container its user is another one
        return self._entries

    def _opened(self, file: BinaryIO) -> Archive:
        if inflate.is_zip(inflate.signature(file)):
            return ZipArchive(file)
        # A tar archive could consist of headers alone, and never yield a member.
        most = self._limits.unpacked_bytes + (self._limits.files + 1) * _HEADER_BYTES
        return TarArchive(inflate.inflated(file, most))

    def _check(self) -> None:
        """Raise ArchiveRefused beyond a limit, and Stopped."""
        if self._is_stopped():
            raise Stopped
        if self._members > self._limits.files:
            raise ArchiveRefused("archive_files", expected=str(self._limits.files))
        if self._written > self._limits.unpacked_bytes:
            raise ArchiveRefused("archive_size", expected=str(self._limits.unpacked_bytes))

    def _put(self, member: Member, archive: Archive) -> None:
        target = self._folder / member.path
        try:
            if member.is_folder:
                target.mkdir(parents=True, exist_ok=True)
                return
            if member.size > self._limits.file_bytes:
                raise ArchiveRefused("archive_file_size", member.path, expected=str(self._limits.file_bytes))
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o755 if member.is_executable else 0o644
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        except (FileExistsError, NotADirectoryError):
            raise ArchiveRefused("archive_twice", member.path) from None
        with os.fdopen(descriptor, "wb", buffering=0) as out:
            os.fchmod(descriptor, mode)
            self._entries.append(Entry(member.path, member.is_executable, self._copy(member, archive, out)))

    def _copy(self, member: Member, archive: Archive, out: BinaryIO) -> str:
        """Write the file's content, and return its digest."""
        total, size = hashlib.sha256(), 0
        for piece in archive.content():
            size += len(piece)
            self._written += len(piece)
            if size > self._limits.file_bytes:  # what a ZIP archive says of a size need not be true
                raise ArchiveRefused("archive_file_size", member.path, expected=str(self._limits.file_bytes))
            self._check()
            self._room.write(out, piece)
            total.update(piece)
        return total.hexdigest()
