"""Full disks: how they are detected, and the reserve that makes deletions possible on them."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a full disk, or a used up quota."""
RESERVE_BYTES: Final = 1024 * 1024
"""Bytes that are reserved for deletions: fewer than replicas' logs leave free."""
FREE_FACTOR: Final = 4
"""Free space, in multiples of the reserve, from which the reserve is made again."""

logger = logging.getLogger(__name__)


def is_full(error: BaseException) -> bool:
    """Return whether the error comes from a full disk."""
    return isinstance(error, OSError) and error.errno in FULL


class Reserve:
    """A file that occupies space on the database's disk, and is deleted when a deletion needs the space."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "reserve"

    def keep(self) -> None:
        """Create the file if it is missing and enough space is free."""
        with suppress(OSError):
            if self._size() < RESERVE_BYTES and self._free() > FREE_FACTOR * RESERVE_BYTES:
                self._allocate()

    def is_needed(self) -> bool:
        """Return whether the disk is full."""
        with suppress(OSError):
            return self._free() < RESERVE_BYTES
        return False

    def give(self) -> bool:
        """Delete the file if the disk is full. Return whether that freed space."""
        with suppress(OSError):
            if self.is_needed():
                self._file.unlink()
                logger.warning(
                    "the disk of %s is full: the space reserved for deletions is released", self._file.parent
                )
                return True
        return False

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0

    def _free(self) -> int:
        disk = os.statvfs(self._file.parent)
        return disk.f_bavail * disk.f_frsize

    def _allocate(self) -> None:
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(file, 0, RESERVE_BYTES)
        except OSError:
            self._file.unlink()
            raise
        finally:
            os.close(file)
