"""Instants at which a test ends this process, to see what the next one makes of it: ``ATELIER_FAILPOINT=name:exit``.

Each stands between two steps that cannot be one: a record and the act it announces, an act and its record.
"""

from __future__ import annotations

import os
from typing import Final

NAMES: Final = (
    "wish.written",  # in the transaction, which is not committed yet
    "wish.committed",  # nobody was told yet
    "lease.taken",
    "start.recorded",  # nothing runs yet
    "start.spawned",  # it runs, and its process id is not written down; a container is made, and does not run yet
    "start.launched",
    "look.seen",  # something moved, and it is not recorded
    "look.recorded",
    "drain.recorded",
    "stop.begun",
    "stop.done",  # it is gone, and recorded as if it were not
    "erase.recorded",  # the deployment is forgotten, what it left on disk is not removed
)
EXIT: Final = 70
"""The process's exit status."""

_armed = ""


def check(text: str) -> str:
    """The point that ``name:exit`` names. Raises ValueError for any other text."""
    name, _, action = text.partition(":")
    if name not in NAMES or action != "exit":
        raise ValueError(f"must be NAME:exit, where NAME is one of {', '.join(NAMES)}")
    return name


def arm(text: str | None) -> None:
    """From now on, this process ends where ``text`` says; nowhere for None."""
    global _armed  # noqa: PLW0603 - one process, one point
    _armed = check(text) if text else ""


def reach(name: str) -> None:
    """This process is at that point."""
    if name == _armed:
        os._exit(EXIT)
