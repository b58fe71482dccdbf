"""Looks at replicas, each in its own time: one that does not answer keeps no other's news waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from management.backends.base import Launcher, Observation, Phase
from management.control.replicas import transitions
from management.control.replicas.probe_history import Health, Sightings
from management.domain.clock import Clock
from management.domain.records import Replica, ReplicaState
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
        self._sightings = Sightings(HEALTH_SECONDS, clock)
        self._looks: dict[str, asyncio.Task[Observation]] = {}
        self._states: dict[str, ReplicaState] = {}
        """In which those that are looked at were when it began."""

    async def seen(self, alive: Sequence[Replica]) -> dict[str, Observation]:
        """What is known anew of each; one that cannot be looked at says nothing of the others.

        What was seen of one that has come into another state meanwhile is forgotten. Raises BackendUnavailable when
        somebody could not be looked at for that.
        """
        due = {one.id for one in self._sightings.due(alive)}
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
                    self._sightings.not_seen(replica_id)
                else:
                    self._sightings.heard(replica, silent=transitions.silent(replica, found))
        if away is not None:
            raise away
        return seen

    def _over(self, _: asyncio.Task[Observation]) -> None:
        self._answered()

    def suspect(self, replica_id: str) -> None:
        """It is looked at the next time."""
        self._sightings.suspect(replica_id)

    def doubtful(self) -> bool:
        """Whether somebody is to be looked at again at once."""
        return self._sightings.doubtful()

    def ages(self) -> Mapping[str, float]:
        """Seconds that each has been in its state."""
        return self._sightings.ages()

    def health(self) -> Mapping[str, Health]:
        """How each answers."""
        return self._sightings.health()

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
