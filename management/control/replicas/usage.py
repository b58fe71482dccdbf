"""What replicas use, measured every few seconds beside the looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from management.backends.base import Launcher
from management.control.journal import Ledger
from management.control.replicas import transitions
from management.control.replicas.probes import PATIENCE_SECONDS
from management.control.replicas.transitions import Measured
from management.errors import BackendUnavailable

USAGE_SECONDS: Final = 2.0
"""Between two measurements."""


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
        if used := transitions.rates(before, self._last):
            await self._ledger.measured(used)
            self._tell({one: millicores for one, (millicores, _) in used.items()})

    async def close(self) -> None:
        """Gives up the measurement that is under way."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)
            self._measuring = None
