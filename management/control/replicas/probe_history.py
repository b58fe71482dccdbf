"""When each replica was last looked at, since when it is in its state, how it answers: by a clock that nobody sets.

The time of day can be set, also while a replica starts or drains; what a process saw itself is timed without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from management.domain.clock import SYSTEM, Clock
from management.domain.records import Replica, ReplicaState


@dataclass(frozen=True)
class Health:
    """How a replica answered its last probes."""

    misses: int = 0
    """Probes in a row that it left unanswered."""
    answers: int = 0
    """Probes in a row that it answered."""
    silence: float = 0.0
    """Seconds since it last answered."""


class Sightings:
    """What one supervisor has seen of the replicas that are alive."""

    def __init__(self, seconds: float, clock: Clock = SYSTEM) -> None:
        """``seconds`` pass between two looks at a replica that serves."""
        self._seconds, self._clock = seconds, clock
        self._looked_at: dict[str, float] = {}
        self._since: dict[str, tuple[ReplicaState, float]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._silent_since: dict[str, float] = {}

    def due(self, alive: Sequence[Replica]) -> list[Replica]:
        """Those to be looked at now: what is on its way every time, what serves now and then. Others are forgotten."""
        at = self._clock.steady()
        ids = {one.id for one in alive}
        for known in (self._looked_at, self._since, self._counts, self._silent_since):
            for gone in known.keys() - ids:
                del known[gone]
        for one in alive:
            if self._since.get(one.id, (None,))[0] is not one.state:
                self._since[one.id] = (one.state, at)
        due = [one for one in alive if self._is_due(one, at)]
        self._looked_at |= {one.id: at for one in due}
        return due

    def suspect(self, replica_id: str) -> None:
        """It is due at the next look."""
        self._looked_at.pop(replica_id, None)

    def heard(self, replica: Replica, *, silent: bool) -> None:
        """Whether it answered when it was looked at; after one miss it is looked at again at once."""
        misses, answers = self._counts.get(replica.id, (0, 0))
        self._counts[replica.id] = (misses + 1, 0) if silent else (0, answers + 1)
        if silent:
            self._silent_since.setdefault(replica.id, self._clock.steady())
            if not misses:
                self.suspect(replica.id)
        else:
            self._silent_since.pop(replica.id, None)

    def not_seen(self, replica_id: str) -> None:
        """It could not be looked at: what was counted stands, and how long it has been silent begins anew."""
        if replica_id in self._silent_since:
            self._silent_since[replica_id] = self._clock.steady()

    def doubtful(self) -> bool:
        """Whether somebody is to be looked at again at once."""
        return any(misses == 1 for misses, _ in self._counts.values())

    def ages(self) -> dict[str, float]:
        """Seconds that each has been in its state, as far as this supervisor saw it."""
        at = self._clock.steady()
        return {one: at - since for one, (_, since) in self._since.items()}

    def health(self) -> dict[str, Health]:
        """How each that was looked at answers."""
        at = self._clock.steady()
        return {
            one: Health(misses, answers, at - self._silent_since.get(one, at))
            for one, (misses, answers) in self._counts.items()
        }

    def _is_due(self, replica: Replica, at: float) -> bool:
        serves = replica.state in (ReplicaState.READY, ReplicaState.SILENT)
        return not serves or at - self._looked_at.get(replica.id, -self._seconds) >= self._seconds
