"""Writing with an eye on the disk: what the database and the replicas need stays free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from management.faults import disk
from management.packaging.archives.refusals import DiskFull

SPARE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the disk that stay free: the database and the replicas' logs share it."""
LOOK_BYTES: Final = 16 * 1024 * 1024
"""Bytes that are written between two looks at the disk."""


class Room:
    """The free space of a folder's disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unseen = 0

    def require(self, size: int) -> None:
        """Raise DiskFull unless ``size`` bytes fit."""
        found = os.statvfs(self._folder)
        if found.f_bavail * found.f_frsize < size + SPARE_BYTES:
            raise DiskFull

    def write(self, out: BinaryIO, data: bytes) -> None:
        """Write all the data. Raises DiskFull."""
        self._unseen += len(data)
        if self._unseen >= LOOK_BYTES:
            self._unseen = 0
            self.require(0)
        view = memoryview(data)
        with full_disk_named():
            while view:
                view = view[out.write(view) :]


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raise DiskFull instead of the OSError of a full disk."""
    try:
        yield
    except OSError as error:
        if disk.is_full(error):
            raise DiskFull from None
        raise
