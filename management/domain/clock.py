"""The only source of time: the time of day, and a monotonic clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final


class Clock:
    """Clock of all code that waits or records times; a test passes one whose time it sets."""

    def unix(self) -> float:
        """Return the Unix time in seconds, by the machine's time of day, which may jump."""
        return time.time()

    def steady(self) -> float:
        """Return monotonic seconds since an unknown moment."""
        return time.monotonic()

    def ahead(self) -> float:
        """Return the seconds by which this clock is ahead of the machine's time of day."""
        return 0.0

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.fromtimestamp(self.unix(), UTC)


SYSTEM: Final = Clock()
"""The machine's clock."""


def now() -> datetime:
    """Return the present time in UTC, by the machine's clock."""
    return SYSTEM.now()


def written(text: str) -> datetime | None:
    """Return the time that a text in ISO 8601 says, in UTC, which one without a zone is taken for.

    None where it says no time, or one that UTC has no date for: the last hours of 9999 in a zone behind it.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def shown(moment: datetime) -> str:
    """Return the time in ISO 8601, in UTC with milliseconds and a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
