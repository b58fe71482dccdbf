"""CPU and memory usage of the replicas, measured every few seconds beside the probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from management.backends.launcher import ReplicaTelemetry, ReplicaUsage
from management.control.journal import Journal
from management.control.replicas.prober import PROBE_WAIT_SECONDS
from management.errors import BackendUnavailable

SAMPLE_INTERVAL_SECONDS: Final = 2.0
"""Seconds between two measurements."""


@dataclass(frozen=True)
class UsageSample:
    """A replica's usage at that second of the clock that measures it: always the same one for a replica."""

    at: float
    usage: ReplicaUsage


class UsageSampler:
    """Measures usage for one supervisor. A backend that measures slowly does not delay its turns."""

    def __init__(
        self, telemetry: ReplicaTelemetry, journal: Journal, measured: Callable[[Mapping[str, int]], None]
    ) -> None:
        """``measured`` is called with the millicores, by id, of each replica that was measured twice."""
        self._telemetry, self._journal, self._measured = telemetry, journal, measured
        self._last: dict[str, UsageSample] = {}
        self._measuring: asyncio.Task[None] | None = None
        self._due_at = 0.0

    async def sample(self, replica_ids: Sequence[str]) -> None:
        """Measures these replicas if a measurement is due. Raises StoreUnavailable."""
        now = self._journal.clock.steady()
        if self._measuring is None:
            if now < self._due_at:
                return
            self._measuring = asyncio.create_task(self._measure(now, replica_ids))
        await asyncio.wait({self._measuring}, timeout=PROBE_WAIT_SECONDS)
        if self._measuring.done():
            done, self._measuring = self._measuring, None
            self._due_at = now + max(SAMPLE_INTERVAL_SECONDS, self._telemetry.usage_seconds)
            with suppress(BackendUnavailable):
                done.result()

    async def _measure(self, at: float, replica_ids: Sequence[str]) -> None:
        usage = await self._telemetry.usage(replica_ids) if replica_ids else {}
        before, self._last = (
            self._last,
            {
                key: UsageSample(at if used.measured_at is None else used.measured_at, used)
                for key, used in usage.items()
            },
        )
        if used := rates(before, self._last):
            await self._journal.record_usage(used)
            self._measured({replica_id: millicores for replica_id, (millicores, _) in used.items()})

    async def close(self) -> None:
        """Cancels the measurement that is under way."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)
            self._measuring = None


def rates(before: Mapping[str, UsageSample], now: Mapping[str, UsageSample]) -> dict[str, tuple[int, int]]:
    """Millicores and bytes, by id, of each replica that was measured twice."""
    used = {}
    for replica_id in before.keys() & now.keys():
        first, second = before[replica_id], now[replica_id]
        if second.usage.measured_at is not None and second.at <= first.at:
            continue  # it is the same measurement
        seconds = max(1e-3, second.at - first.at)
        rate = max(0.0, second.usage.cpu_seconds - first.usage.cpu_seconds) / seconds
        used[replica_id] = (round(rate * 1000), second.usage.memory_bytes)
    return used
