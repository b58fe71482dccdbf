"""Probes of replicas, each in a task of its own, so that a replica that does not answer delays no other.

Ages are measured by a monotonic clock, because the time of day can be set while a replica starts or drains.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Container, Iterable, Sequence, Set
from typing import Final

from management.backends.launcher import Observation, Phase, ReplicaLauncher
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Health, Replica, ReplicaState
from management.errors import BackendUnavailable

PROBE_INTERVAL_SECONDS: Final = 0.5
"""Seconds between two probes of a replica that serves, while there are few."""
MAX_PROBES_PER_SECOND: Final = 50
"""Probes per second of replicas that serve and answer, however many there are.

A probe takes 0.3 to 0.4 ms of CPU with all that belongs to it, so that these take at most 2 % of a core. Observing 500
replicas may cost 5 %, of which the server itself takes most of the rest: see ``docs/scale.md``.
"""
FULL_RATE_REPLICAS: Final = int(MAX_PROBES_PER_SECOND * PROBE_INTERVAL_SECONDS)
"""Replicas that can serve before they are probed less often; also the most of them that a turn probes."""
PROBE_WAIT_SECONDS: Final = 0.1
"""Seconds a turn waits for the probes' answers; later answers are taken in the next turn."""

SERVING: Final = (ReplicaState.READY, ReplicaState.UNRESPONSIVE)
"""States of replicas that are probed at intervals."""

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
        for replica in self.history.due(alive, under_way=self._probes):
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
    return replica.state in SERVING and observation.phase in (Phase.UNRESPONSIVE, Phase.STARTING)


class ProbeHistory:
    """The results of one supervisor's probes of the replicas that are alive."""

    def __init__(self, seconds: float, clock: Clock = SYSTEM) -> None:
        """``seconds`` pass between two probes of a replica that serves, while there are few."""
        self._seconds, self._clock = seconds, clock
        self._probed_at: dict[str, float] = {}
        self._at_once: set[str] = set()
        self._since: dict[str, tuple[ReplicaState, float]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._unresponsive_since: dict[str, float] = {}

    def due(self, alive: Sequence[Replica], under_way: Container[str] = ()) -> list[Replica]:
        """The replicas to probe now, without those whose probe is ``under_way``.

        Starting and draining ones, and those of ``probe_now``, are due each time, others at intervals. The more of them
        answer, the longer the interval, and the longest unprobed come first: see ``MAX_PROBES_PER_SECOND``.

        Forgets all replicas that are not alive.
        """
        now = self._clock.steady()
        self._forget_others({replica.id for replica in alive})
        ready, due, steady = ReplicaState.READY, [], []
        for replica in alive:
            state, since = replica.state, self._since.get(replica.id)
            if since is None or since[0] is not state:
                self._since[replica.id] = (state, now)
            if replica.id in under_way:
                continue
            if state not in SERVING or replica.id in self._at_once:
                due.append(replica)
            elif state is ready and not self._counts.get(replica.id, (0, 0))[0]:
                steady.append(replica)
            elif self._unprobed(replica, now) >= self._seconds:
                due.append(replica)
        due += self._longest_unprobed(steady, now)
        self._probed_at |= {replica.id: now for replica in due}
        self._at_once -= {replica.id for replica in due}
        return due

    def probe_now(self, replica_id: str) -> None:
        """Makes the replica due in the next turn."""
        self._at_once.add(replica_id)

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

    def ages(self, ids: Iterable[str]) -> dict[str, float]:
        """Seconds that each of these replicas has been in its state since this supervisor first saw it there, by id."""
        now = self._clock.steady()
        return {replica_id: now - self._since[replica_id][1] for replica_id in ids if replica_id in self._since}

    def health(self, ids: Iterable[str]) -> dict[str, Health]:
        """How those of these replicas answer that were probed, by id."""
        now = self._clock.steady()
        return {
            replica_id: Health(*self._counts[replica_id], now - self._unresponsive_since.get(replica_id, now))
            for replica_id in ids
            if replica_id in self._counts
        }

    def _forget_others(self, ids: Set[str]) -> None:
        for known in (self._probed_at, self._since, self._counts, self._unresponsive_since):
            for gone in known.keys() - ids:
                del known[gone]
        self._at_once &= ids

    def _longest_unprobed(self, steady: Sequence[Replica], now: float) -> list[Replica]:
        """The replicas of these to probe now: their probes are spread over the turns of the interval."""
        seconds = self._seconds * max(1.0, len(steady) / FULL_RATE_REPLICAS)
        due = [replica for replica in steady if self._unprobed(replica, now) >= seconds]
        return sorted(due, key=lambda replica: self._unprobed(replica, now), reverse=True)[:FULL_RATE_REPLICAS]

    def _unprobed(self, replica: Replica, now: float) -> float:
        """Seconds since the last probe began."""
        return now - self._probed_at.get(replica.id, -math.inf)
