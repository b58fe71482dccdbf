"""Folders in which uploads are received and unpacked, on the file system of the store.

A workplace is locked for as long as its process works in it; one without a lock belongs to a process that died.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from management.packaging.build import BentoHome

PREFIX: Final = ".upload-"
"""Prefix of the names of workplaces, in the BentoML home."""


@contextmanager
def workplace(home: BentoHome) -> Iterator[Path]:
    """Make an empty folder in the BentoML home, and remove it at the end."""
    home.home.mkdir(parents=True, exist_ok=True)
    with home.locked():
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home.home))
        lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_abandoned(home: BentoHome) -> None:
    """Remove the workplaces of processes that died."""
    if not home.home.is_dir():
        return
    with home.locked():  # so that none is just being made
        locks = {folder: _lock(folder) for folder in home.home.glob(f"{PREFIX}*")}
    for folder, lock in locks.items():
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return the descriptor that holds the folder's lock; None while another process holds it."""
    with suppress(FileNotFoundError):  # its process has just ended
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor
    return None
