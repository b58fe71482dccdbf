"""A disk that is full: what is known by it, and what is kept so that something can be deleted all the same."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
RESERVE_BYTES: Final = 1024 * 1024
"""That are kept for deletions: less than what replicas' logs leave to others."""
ROOM: Final = 4
"""Times its size that has to be free for the reserve to be made again."""

logger = logging.getLogger(__name__)


def is_full(error: BaseException) -> bool:
    """Whether it is for want of room on a disk."""
    return isinstance(error, OSError) and error.errno in FULL


class Reserve:
    """A file that takes room on the database's disk, and gives it up when a deletion finds none."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "reserve"

    def keep(self) -> None:
        """Makes it where it is not, and where there is room enough for others, too."""
        with suppress(OSError):
            if self._size() < RESERVE_BYTES and self._free() > ROOM * RESERVE_BYTES:
                self._allocate()

    def is_needed(self) -> bool:
        """Whether the disk is full."""
        with suppress(OSError):
            return self._free() < RESERVE_BYTES
        return False

    def give(self) -> bool:
        """Whether there is room now that was not there before."""
        with suppress(OSError):
            if self.is_needed():
                self._file.unlink()
                logger.warning("the disk of %s is full: what was kept for deletions is given up", self._file.parent)
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
