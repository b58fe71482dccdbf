"""The time, in one place: of day, and since some moment that nobody can set."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final


class Clock:
    """What whoever waits or remembers asks for the time; a test gives one whose time it moves itself."""

    def unix(self) -> float:
        """Seconds since 1970, by the machine's time of day, which may be set."""
        return time.time()

    def steady(self) -> float:
        """Seconds since an unknown moment, which only grow."""
        return time.monotonic()

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.fromtimestamp(self.unix(), UTC)


SYSTEM: Final = Clock()
"""This machine's."""


def now() -> datetime:
    """This moment in UTC."""
    return SYSTEM.now()


def shown(moment: datetime) -> str:
    """ISO 8601 with milliseconds and a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
