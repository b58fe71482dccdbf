"""Who may start and stop replicas: one worker at a time, for a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from management.store import tables

SUPERVISOR: Final = "supervisor"
SLACK_SECONDS: Final = 1.0
"""By which two looks at the clock may differ."""

_columns = tables.leases.c


@dataclass(frozen=True)
class Lease:
    """Who holds it, until which Unix time."""

    held_by: str
    held_until: float


class LeaseRepository:
    """The lease of the supervisor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> Lease | None:
        """Who held it last."""
        row = self._connection.execute(select(tables.leases).where(_columns.name == SUPERVISOR)).one_or_none()
        return None if row is None else Lease(row.held_by, row.held_until)

    def take(self, holder: str, now: float, seconds: float) -> bool:
        """Whether it is the holder's from now on: it was free, had run out, or was the holder's already."""
        lease = self.get()
        if lease is not None and lease.held_by != holder and now < lease.held_until <= now + seconds + SLACK_SECONDS:
            return False  # further ahead than any lease lasts: the clock was set back since
        values = {"held_by": holder, "held_until": now + seconds}
        if lease is None:
            self._connection.execute(insert(tables.leases).values(name=SUPERVISOR, **values))
        else:
            self._connection.execute(update(tables.leases).where(_columns.name == SUPERVISOR).values(values))
        return True

    def holds(self, holder: str, now: float) -> bool:
        """Whether the holder may act now."""
        lease = self.get()
        return lease is not None and lease.held_by == holder and lease.held_until > now

    def give_back(self, holder: str) -> None:
        """Frees it, if it is the holder's."""
        self._connection.execute(delete(tables.leases).where(_columns.name == SUPERVISOR, _columns.held_by == holder))
