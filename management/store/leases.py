"""Table of leases: one worker at a time may start and stop replicas, for a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from management.store import tables

SUPERVISOR: Final = "supervisor"
"""Name of the only lease."""
SLACK_SECONDS: Final = 1.0
"""Seconds by which two readings of the clock may differ."""

_columns = tables.leases.c


@dataclass(frozen=True)
class Lease:
    """The holder of a lease, and the Unix time until which it is held."""

    held_by: str
    held_until: float


class LeaseRepository:
    """Reads and writes the supervisor's lease."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> Lease | None:
        """Return the last lease, held or expired; None after it was given back."""
        row = self._connection.execute(select(tables.leases).where(_columns.name == SUPERVISOR)).one_or_none()
        return None if row is None else Lease(row.held_by, row.held_until)

    def take(self, holder: str, now: float, seconds: float) -> bool:
        """Take the lease if it is free, expired or the holder's own. Return whether the holder has it now."""
        lease = self.get()
        if lease is not None and lease.held_by != holder and now < lease.held_until <= now + seconds + SLACK_SECONDS:
            return False  # a lease that ends later than any could means that the clock was set back
        values = {"held_by": holder, "held_until": now + seconds}
        if lease is None:
            self._connection.execute(insert(tables.leases).values(name=SUPERVISOR, **values))
        else:
            self._connection.execute(update(tables.leases).where(_columns.name == SUPERVISOR).values(values))
        return True

    def holds(self, holder: str, now: float) -> bool:
        """Return whether the holder has the lease now."""
        lease = self.get()
        return lease is not None and lease.held_by == holder and lease.held_until > now

    def give_back(self, holder: str) -> None:
        """Release the lease if it is the holder's."""
        self._connection.execute(delete(tables.leases).where(_columns.name == SUPERVISOR, _columns.held_by == holder))
