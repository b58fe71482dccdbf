"""A part of an upload, which arrives in pieces."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from management.packaging.archives.room import Room, full_disk_named
from management.packaging.archives.workplace import workplace
from management.packaging.build import BentoHome
from management.packaging.pushes.refusals import TooMuch, WrongParts
from management.packaging.pushes.uploads import MAX_PARTS, PendingUpload
from management.settings import BentoSettings


class PartUpload:
    """One part, whose methods block and are called as those of ``archives.upload.Upload``.

    It is received aside, and comes into its upload by one rename.
    """

    def __init__(self, home: BentoHome, limits: BentoSettings, upload: PendingUpload, number: int) -> None:
        self._home, self._most, self._upload, self._number = home, limits.upload_bytes, upload, number
        self._digest = hashlib.sha256()
        self._size = 0
        self._stack = ExitStack()

    def open(self, length: int) -> None:
        """Make the workplace. Raises WrongParts for a number that no part has, UnknownUpload, TooMuch and DiskFull."""
        if not 1 <= self._number <= MAX_PARTS:
            raise WrongParts("part_number", MAX_PARTS)
        self._others = self._bytes_of_others()
        self._check(length)
        with full_disk_named():
            folder = self._stack.enter_context(workplace(self._home))
            self._room = Room(folder)
            self._room.require(length)
            self._received: Path = folder / "part"
            self._file: BinaryIO = self._stack.enter_context(self._received.open("wb", buffering=0))

    def write(self, piece: bytes) -> None:
        """Add a piece of the part. Raises TooMuch and DiskFull."""
        self._size += len(piece)
        self._check(self._size)
        self._room.write(self._file, piece)
        self._digest.update(piece)

    def finish(self) -> str:
        """Put the part into its upload, instead of an earlier one of its number, and return its digest in hex.

        Raises UnknownUpload and TooMuch.
        """
        digest = self._digest.hexdigest()
        with full_disk_named(), self._upload.locked():
            self._others = self._bytes_of_others()
            self._check(self._size)
            self._upload.keep(self._received, self._number, digest)
            for number, other in self._upload.parts():
                if number == self._number and other != digest:
                    self._upload.discard(number, other)
        return digest

    def stop(self) -> None:
        """Do nothing: ``finish`` ends soon by itself."""

    def close(self) -> None:
        """Remove the workplace."""
        self._stack.close()

    def _bytes_of_others(self) -> int:
        return sum(size for (number, _), size in self._upload.parts().items() if number != self._number)

    def _check(self, size: int) -> None:
        if self._others + size > self._most:
            raise TooMuch
