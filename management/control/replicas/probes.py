"""Probes of replicas, each in its own time: a replica that does not answer delays no other.

Ages are measured by a monotonic clock: the time of day can be set, also while a replica starts or drains.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from management.backends.base import Launcher, Observation, Phase
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Health, Replica, ReplicaState
from management.errors import BackendUnavailable

HEALTH_SECONDS: Final = 0.5
"""Between two looks at a replica that serves."""
PATIENCE_SECONDS: Final = 0.1
"""That a look waits for replicas' answers; what comes later is for the next one."""

logger = logging.getLogger(__name__)


class Watch:
    """The looks of one supervisor."""

    def __init__(self, launcher: Launcher, clock: Clock, answered: Callable[[], None]) -> None:
        """``answered`` is called when a look that was not waited for is over."""
        self._launcher, self._answered = launcher, answered
        self.history = Sightings(HEALTH_SECONDS, clock)
        """What was observed so far."""
        self._looks: dict[str, asyncio.Task[Observation]] = {}
        self._states: dict[str, ReplicaState] = {}
        """In which those that are looked at were when it began."""

    async def seen(self, alive: Sequence[Replica]) -> dict[str, Observation]:
        """What is known anew of each; one that cannot be looked at says nothing of the others.

        What was seen of one that has come into another state meanwhile is forgotten. Raises BackendUnavailable when
        somebody could not be looked at for that.
        """
        due = {one.id for one in self.history.due(alive)}
        for one in alive:
            if one.id in due and one.id not in self._looks:
                self._looks[one.id] = asyncio.create_task(self._launcher.observe(one.id))
                self._states[one.id] = one.state
        if self._looks:
            await asyncio.wait(self._looks.values(), timeout=PATIENCE_SECONDS)
        by_id = {one.id: one for one in alive}
        seen = {}
        away: BackendUnavailable | None = None
        for replica_id, look in list(self._looks.items()):
            if not look.done():
                look.remove_done_callback(self._over)  # of an earlier round
                look.add_done_callback(self._over)
                continue
            del self._looks[replica_id]
            try:
                found = _found(replica_id, look)
            except BackendUnavailable as error:
                away = error
                continue
            replica = by_id.get(replica_id)
            if replica is not None and replica.state is self._states[replica_id]:
                seen[replica_id] = found
                if found.phase is Phase.UNKNOWN:
                    self.history.not_seen(replica_id)
                else:
                    self.history.heard(replica, silent=silent(replica, found))
        if away is not None:
            raise away
        return seen

    def _over(self, _: asyncio.Task[Observation]) -> None:
        self._answered()

    async def close(self) -> None:
        """Gives up the looks that are under way."""
        for look in self._looks.values():
            look.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)
        self._looks.clear()


def _found(replica_id: str, look: asyncio.Task[Observation]) -> Observation:
    if look.cancelled():
        raise asyncio.CancelledError
    error = look.exception()
    if error is None:
        return look.result()
    if not isinstance(error, Exception) or isinstance(error, BackendUnavailable):
        raise error
    logger.error("replica %s cannot be looked at", replica_id, exc_info=error)
    return Observation(Phase.UNKNOWN)


def silent(replica: Replica, look: Observation) -> bool:
    """Whether a replica that should serve does not answer."""
    serves = replica.state in (ReplicaState.READY, ReplicaState.SILENT)
    return serves and look.phase in (Phase.SILENT, Phase.STARTING)


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
