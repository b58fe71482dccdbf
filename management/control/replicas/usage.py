"""What replicas use, measured every few seconds beside the looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from management.backends.base import Launcher, Usage
from management.control.journal import Ledger
from management.control.replicas.probes import PATIENCE_SECONDS
from management.errors import BackendUnavailable

USAGE_SECONDS: Final = 2.0
"""Between two measurements."""


@dataclass(frozen=True)
class Measured:
    """What a replica had used at that second."""

    at: float
    usage: Usage


class Meter:
    """Of one supervisor. A backend that takes its time over a measurement holds up no look."""

    def __init__(self, launcher: Launcher, ledger: Ledger, measured: Callable[[Mapping[str, int]], None]) -> None:
        """``measured`` gets the millicores of each replica that was measured twice."""
        self._launcher, self._ledger, self._tell = launcher, ledger, measured
        self._last: dict[str, Measured] = {}
        self._measuring: asyncio.Task[None] | None = None
        self._at = 0.0

    async def look(self, replica_ids: Sequence[str]) -> None:
        """Measures these, if it is time. Raises StoreUnavailable."""
        at = self._ledger.clock.steady()
        if self._measuring is None:
            if at < self._at:
                return
            self._measuring = asyncio.create_task(self._measure(at, replica_ids))
        await asyncio.wait({self._measuring}, timeout=PATIENCE_SECONDS)
        if self._measuring.done():
            over, self._measuring = self._measuring, None
            self._at = at + USAGE_SECONDS
            with suppress(BackendUnavailable):
                over.result()

    async def _measure(self, at: float, replica_ids: Sequence[str]) -> None:
        usage = await self._launcher.usage(replica_ids) if replica_ids else {}
        before, self._last = self._last, {one: Measured(at, used) for one, used in usage.items()}
        if used := rates(before, self._last):
            await self._ledger.measured(used)
            self._tell({one: millicores for one, (millicores, _) in used.items()})

    async def close(self) -> None:
        """Gives up the measurement that is under way."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)
            self._measuring = None


def rates(before: Mapping[str, Measured], now: Mapping[str, Measured]) -> dict[str, tuple[int, int]]:
    """Millicores and bytes of each replica that was measured twice."""
    used = {}
    for replica_id in before.keys() & now.keys():
        first, second = before[replica_id], now[replica_id]
        seconds = max(1e-3, second.at - first.at)
        rate = max(0.0, second.usage.cpu_seconds - first.usage.cpu_seconds) / seconds
        used[replica_id] = (round(rate * 1000), second.usage.memory_bytes)
    return used
