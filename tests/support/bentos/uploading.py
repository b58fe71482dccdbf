"""Uploads that are pushed in one go, and processes that die in the middle of one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from management.packaging.archives.workplace import PREFIX
from management.packaging.build import BentoHome

STEPS: Final = frozenset({"open", "os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir", "os.truncate"})
"""Steps in the file system that a process may die before, as Python's audit names them."""
DIED: Final = 70

Outcome_co = TypeVar("Outcome_co", covariant=True)
Outcome = TypeVar("Outcome")


class Steps(Protocol[Outcome_co]):
    def open(self, length: int, /) -> None: ...
    def write(self, piece: bytes, /) -> None: ...
    def finish(self) -> Outcome_co: ...
    def close(self) -> None: ...


def pushed_through(upload: Steps[Outcome], content: bytes, home: BentoHome) -> Outcome:
    """Bring the content in; nothing of the upload may stay, whatever comes of it."""
    try:
        upload.open(len(content))
        upload.write(content)
        return upload.finish()
    finally:
        upload.close()
        assert not list(home.home.glob(f"{PREFIX}*"))


def die_at(step: int) -> None:
    """Let this process end before the given step that it takes in the file system."""
    left = step

    def watch(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event in STEPS:
            left -= 1
            if left == 0:
                os._exit(DIED)

    sys.addaudithook(watch)


def dies(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that dies before this step; return whether it did not come to the end before."""
    child = os.fork()
    if child == 0:
        die_at(step)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
