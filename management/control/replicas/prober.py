"""Probes of replicas, each in a task of its own, so that a replica that does not answer delays no other.

Ages are measured by a monotonic clock, because the time of day can be set while a replica starts or drains.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from management.backends.launcher import Observation, Phase, ReplicaLauncher
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Health, Replica, ReplicaState
from management.errors import BackendUnavailable

PROBE_INTERVAL_SECONDS: Final = 0.5
"""Seconds between two probes of a replica that serves."""
PROBE_WAIT_SECONDS: Final = 0.1
"""Seconds a turn waits for the probes' answers; later answers are taken in the next turn."""

logger = logging.getLogger(__name__)


class ReplicaProber:
    """Probes the replicas for one supervisor."""

    def __init__(self, launcher: ReplicaLauncher, clock: Clock, answered: Callable[[], None]) -> None:
        """``answered`` is called when a probe ends that no turn waits for."""
        self._launcher, self._answered = launcher, answered
        self.history = ProbeHistory(PROBE_INTERVAL_SECONDS, clock)
        """The results of earlier probes."""
        self._probes: dict[str, asyncio.Task[Observation]] = {}
        self._states: dict[str, ReplicaState] = {}
        """The state of each probed replica when its probe began."""

    async def observations(self, alive: Sequence[Replica]) -> dict[str, Observation]:
        """Probes the replicas that are due, and returns the new observations by replica id.

        An observation of a replica whose state has changed meanwhile is dropped. Raises BackendUnavailable, after all
        other answers are recorded in the history, when the backend did not answer a probe.
        """
        due = {replica.id for replica in self.history.due(alive)}
        for replica in alive:
            if replica.id in due and replica.id not in self._probes:
                self._probes[replica.id] = asyncio.create_task(self._launcher.observe(replica.id))
                self._states[replica.id] = replica.state
        if self._probes:
            await asyncio.wait(self._probes.values(), timeout=PROBE_WAIT_SECONDS)
        by_id = {replica.id: replica for replica in alive}
        observations = {}
        unavailable: BackendUnavailable | None = None
        for replica_id, probe in list(self._probes.items()):
            if not probe.done():
                probe.remove_done_callback(self._late)  # of an earlier turn
                probe.add_done_callback(self._late)
                continue
            del self._probes[replica_id]
            try:
                observation = _result(replica_id, probe)
            except BackendUnavailable as error:
                unavailable = error
                continue
            probed = by_id.get(replica_id)
            if probed is not None and probed.state is self._states[replica_id]:
                observations[replica_id] = observation
                if observation.phase is Phase.UNKNOWN:
                    self.history.record_unknown(replica_id)
                else:
                    self.history.record(probed, unresponsive=is_unresponsive(probed, observation))
        if unavailable is not None:
            raise unavailable
        return observations

    def _late(self, _: asyncio.Task[Observation]) -> None:
        self._answered()

    async def close(self) -> None:
        """Cancels the probes that are under way."""
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)
        self._probes.clear()


def _result(replica_id: str, probe: asyncio.Task[Observation]) -> Observation:
    if probe.cancelled():
        raise asyncio.CancelledError
    error = probe.exception()
    if error is None:
        return probe.result()
    if not isinstance(error, Exception) or isinstance(error, BackendUnavailable):
        raise error
    logger.error("replica %s cannot be probed", replica_id, exc_info=error)
    return Observation(Phase.UNKNOWN)


def is_unresponsive(replica: Replica, observation: Observation) -> bool:
    """Whether a replica that should serve does not answer."""
    serves = replica.state in (ReplicaState.READY, ReplicaState.UNRESPONSIVE)
    return serves and observation.phase in (Phase.UNRESPONSIVE, Phase.STARTING)


class ProbeHistory:
    """The results of one supervisor's probes of the replicas that are alive."""

    def __init__(self, seconds: float, clock: Clock = SYSTEM) -> None:
        """``seconds`` pass between two probes of a replica that serves."""
        self._seconds, self._clock = seconds, clock
        self._probed_at: dict[str, float] = {}
        self._since: dict[str, tuple[ReplicaState, float]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._unresponsive_since: dict[str, float] = {}

    def due(self, alive: Sequence[Replica]) -> list[Replica]:
        """The replicas to probe now: starting and draining ones each time, serving ones at intervals.

        Forgets all replicas that are not alive.
        """
        now = self._clock.steady()
        ids = {replica.id for replica in alive}
        for known in (self._probed_at, self._since, self._counts, self._unresponsive_since):
            for gone in known.keys() - ids:
                del known[gone]
        for replica in alive:
            if self._since.get(replica.id, (None,))[0] is not replica.state:
                self._since[replica.id] = (replica.state, now)
        due = [replica for replica in alive if self._is_due(replica, now)]
        self._probed_at |= {replica.id: now for replica in due}
        return due

    def probe_now(self, replica_id: str) -> None:
        """Makes the replica due in the next turn."""
        self._probed_at.pop(replica_id, None)

    def record(self, replica: Replica, *, unresponsive: bool) -> None:
        """Records whether the replica answered a probe; after the first miss it is probed again at once."""
        misses, answers = self._counts.get(replica.id, (0, 0))
        self._counts[replica.id] = (misses + 1, 0) if unresponsive else (0, answers + 1)
        if unresponsive:
            self._unresponsive_since.setdefault(replica.id, self._clock.steady())
            if not misses:
                self.probe_now(replica.id)
        else:
            self._unresponsive_since.pop(replica.id, None)

    def record_unknown(self, replica_id: str) -> None:
        """Records a probe without a result: the counts stay, and the time without an answer starts again at 0."""
        if replica_id in self._unresponsive_since:
            self._unresponsive_since[replica_id] = self._clock.steady()

    def any_to_probe_again(self) -> bool:
        """Whether any replica has just missed its first probe, so that it is probed again at once."""
        return any(misses == 1 for misses, _ in self._counts.values())

    def ages(self) -> dict[str, float]:
        """Seconds each replica has been in its state since this supervisor first saw it there, by id."""
        now = self._clock.steady()
        return {replica_id: now - since for replica_id, (_, since) in self._since.items()}

    def health(self) -> dict[str, Health]:
        """How each probed replica answers, by id."""
        now = self._clock.steady()
        return {
            replica_id: Health(misses, answers, now - self._unresponsive_since.get(replica_id, now))
            for replica_id, (misses, answers) in self._counts.items()
        }

    def _is_due(self, replica: Replica, now: float) -> bool:
        serves = replica.state in (ReplicaState.READY, ReplicaState.UNRESPONSIVE)
        return not serves or now - self._probed_at.get(replica.id, -self._seconds) >= self._seconds
