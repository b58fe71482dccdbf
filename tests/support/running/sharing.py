"""What the processes of one test run share: folders that the first of them makes, and the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Final

FOLDER: Final = "ATELIER_TESTS_SHARED"
"""The variable that names the folder of the run to its workers."""


def shared(name: str) -> Path:
    """A place in the folder of the run."""
    return Path(os.environ[FOLDER], name)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process makes which asks for it, while others wait; nobody writes into it afterwards."""
    folder = shared(name)
    with shared(f"{name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not folder.exists():
            unfinished = shared(f"{name}.unfinished")
            make(unfinished)
            unfinished.rename(folder)
    return folder


@contextmanager
def machine(*, alone: bool) -> Iterator[None]:
    """The machine, beside the other workers or alone, until the block ends."""
    with shared("queue.lock").open("w") as queue, shared("machine.lock").open("w") as lock:
        flock(queue, LOCK_EX)  # nobody overtakes a worker that waits to be alone
        flock(lock, LOCK_EX if alone else LOCK_SH)
        flock(queue, LOCK_UN)
        yield
