"""What lies in a replica's folder, and what it says: whether the replica lives, which process it is, what it wrote.

The same in every version: a control plane adopts what an older one started. No function takes an error of this process
for news of the replica: what cannot be opened for want of descriptors, for example, raises OSError.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections import deque
from contextlib import suppress
from pathlib import Path

from management.backends.base import TAIL_BYTES


def taken(lock: int) -> bool:
    """Takes the lock for whoever holds this file open; True when somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def alive(folder: Path) -> bool:
    """Whether the replica of this folder holds its lock."""
    try:
        with (folder / "lock").open("rb") as lock:
            return taken(lock.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return False


def pid(folder: Path) -> int | None:
    """The replica's process, if it still is the one that was started."""
    try:
        number, at = (folder / "pid").read_text().split()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return int(number) if began(int(number)) == at else None


def send(folder: Path, number: signal.Signals) -> bool:
    """Whether the signal was sent; never to another process that got the same id since."""
    with suppress(ProcessLookupError):
        known = pid(folder)
        if known is None:
            return False
        handle = os.pidfd_open(known)
        try:
            if pid(folder) == known:
                signal.pidfd_send_signal(handle, number)
                return True
        finally:
            os.close(handle)
    return False


def began(pid: int) -> str:
    """When the process began, in ticks since the machine did: with its id, its name for ever. Empty for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""


def remove(folder: Path) -> None:
    """The folder, and the one that its host made where paths are short."""
    shutil.rmtree(Path("/tmp") / f"at-{folder.name[:16]}", ignore_errors=True)  # noqa: S108
    shutil.rmtree(folder, ignore_errors=True)


def tail(folder: Path, lines: int) -> list[str]:
    """The last lines of both parts of the log."""
    kept: deque[str] = deque(maxlen=lines)
    for name in ("log.1", "log"):
        try:
            with (folder / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                kept.extend(file.read().decode(errors="replace").splitlines())
        except OSError:
            continue
    return list(kept)
