"""The files in a replica's folder: whether the replica lives, its process id, and its log.

They are the same in every version, because a control plane adopts replicas that an older one started. No function takes
an error of this process for a state of the replica: a file that cannot be opened for lack of descriptors, for example,
raises OSError.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from management.backends.launcher import TAIL_BYTES

ENVIRONMENT: Final = "environment"
"""File with the digest of the environment that the replica runs in; absent where that is the server's."""


def taken(lock: int) -> bool:
    """Take the lock for this open file. Return True when another open file already holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def alive(folder: Path) -> bool:
    """Return whether the replica of this folder holds its lock."""
    try:
        with (folder / "lock").open("rb") as lock:
            return taken(lock.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return False


def pid(folder: Path) -> int | None:
    """Return the replica's process id; None unless that process is still the one that was started."""
    try:
        number, start = (folder / "pid").read_text().split()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return int(number) if began(int(number)) == start else None


def send(folder: Path, number: signal.Signals) -> bool:
    """Send the signal and return whether it was sent; never to another process that reuses the id."""
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
    """Return the process's start in ticks since boot; empty when there is none.

    Id and start together identify a process for ever.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""


def remove(folder: Path) -> None:
    """Remove the folder, and the one with a short path that its host may have made."""
    shutil.rmtree(Path("/tmp") / f"at-{folder.name[:16]}", ignore_errors=True)  # noqa: S108
    shutil.rmtree(folder, ignore_errors=True)


def tail(folder: Path, lines: int) -> list[str]:
    """Return the last lines of the log, whose files are ``log.1`` and ``log``."""
    kept: deque[str] = deque(maxlen=lines)
    for name in ("log.1", "log"):
        try:
            with (folder / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                kept.extend(file.read().decode(errors="replace").splitlines())
        except OSError:
            continue
    return list(kept)
