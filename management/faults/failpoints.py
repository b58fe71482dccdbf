"""Points at which a test ends this process, to see how the next one recovers: ``ATELIER_FAILPOINT=name:exit``.

Each is between two steps that cannot be atomic: a record and the action that it announces, or an action and its record.
"""

from __future__ import annotations

import os
from typing import Final

NAMES: Final = (
    "change.written",  # inside the transaction, before its commit
    "change.committed",  # before the supervisor is notified
    "lease.taken",
    "start.recorded",  # nothing runs yet
    "start.spawned",  # it runs without a recorded process id; a container is created and does not run
    "start.launched",
    "turn.observed",  # a change was observed and is not recorded
    "turn.recorded",
    "drain.recorded",
    "stop.begun",
    "stop.done",  # it is gone and still recorded
    "removal.recorded",  # the deployment is deleted, its files are not
)
EXIT: Final = 70
"""Exit status of a process that ends at a failpoint."""

_armed = ""


def check(text: str) -> str:
    """Return the name in ``name:exit``. Raises ValueError for any other text."""
    name, _, action = text.partition(":")
    if name not in NAMES or action != "exit":
        raise ValueError(f"must be NAME:exit, where NAME is one of {', '.join(NAMES)}")
    return name


def arm(text: str | None) -> None:
    """Let this process end at the point in ``text``; at none for None."""
    global _armed  # noqa: PLW0603 - a process has one failpoint
    _armed = check(text) if text else ""


def reach(name: str) -> None:
    """End the process if this failpoint is armed."""
    if name == _armed:
        os._exit(EXIT)
