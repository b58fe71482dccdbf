"""When each replica was last looked at, since when it is in its state, since when it is silent: by a monotonic clock.

The time of day can be set, also while a replica starts or drains; what a process saw itself is timed without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from management.records import Replica, ReplicaState


class Sightings:
    """What one supervisor has seen of the replicas that are alive."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``seconds`` pass between two looks at a replica that serves."""
        self._seconds, self._clock = seconds, clock
        self._looked_at: dict[str, float] = {}
        self._since: dict[str, tuple[ReplicaState, float]] = {}
        self._silent_since: dict[str, float] = {}

    def due(self, alive: Sequence[Replica]) -> list[Replica]:
        """Those to be looked at now: what is on its way every time, what serves now and then. Others are forgotten."""
        at = self._clock()
        for known in (self._looked_at, self._since, self._silent_since):
            for gone in known.keys() - {one.id for one in alive}:
                del known[gone]
        for one in alive:
            if self._since.get(one.id, (None,))[0] is not one.state:
                self._since[one.id] = (one.state, at)
        due = [one for one in alive if one.state is not ReplicaState.READY or self._is_old(one.id, at)]
        self._looked_at |= {one.id: at for one in due}
        return due

    def suspect(self, replica_id: str) -> None:
        """It is due at the next look."""
        self._looked_at.pop(replica_id, None)

    def heard(self, replica: Replica, *, silent: bool) -> None:
        """Whether it answered when it was looked at."""
        if silent:
            self._silent_since.setdefault(replica.id, self._clock())
        else:
            self._silent_since.pop(replica.id, None)

    def ages(self) -> dict[str, float]:
        """Seconds that each has been in its state, as far as this supervisor saw it."""
        at = self._clock()
        return {one: at - since for one, (_, since) in self._since.items()}

    def silences(self) -> dict[str, float]:
        """Seconds for which silent ones have been so."""
        at = self._clock()
        return {one: at - since for one, since in self._silent_since.items()}

    def _is_old(self, replica_id: str, at: float) -> bool:
        return at - self._looked_at.get(replica_id, -self._seconds) >= self._seconds
