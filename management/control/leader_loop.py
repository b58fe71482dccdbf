"""The loop of the worker that leads: it holds the lease, takes turns, and survives what fails in one."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from management.control.journal import LeaseLostError, Ledger
from management.errors import BackendUnavailable, StoreUnavailable
from management.faults.outage import Outage

RENEW_FRACTION: Final = 1 / 3
"""Fraction of the lease's duration after which it is renewed."""
BACKEND_RETRY_SECONDS: Final = 1.0
"""Seconds until a backend that does not answer is asked again."""


class LeaderLoop(ABC):
    """One worker's loop. It does nothing while another worker holds the lease."""

    busy_seconds: float
    """Seconds between two turns while something is on its way."""
    idle_seconds: float
    """Seconds between two turns while nothing is."""

    def __init__(self, journal: Ledger, lease_seconds: float, logger: logging.Logger) -> None:
        self.leads = False
        """Whether this worker holds the lease."""
        self._journal, self._clock, self._logger = journal, journal.clock, logger
        self._renew_seconds = lease_seconds * RENEW_FRACTION
        self._renew_at = self._turn_at = 0.0
        self._awake = asyncio.Event()
        self._database, self._backend = Outage(logger, "the database"), Outage(logger, "the backend")

    @abstractmethod
    async def look(self) -> bool:
        """One turn: observe, evaluate, plan, act, record. True when something is on its way."""

    async def lease_taken(self) -> None:  # noqa: B027 - nothing, unless a loop has something to do
        """Called when this worker begins to lead: what it saw when it last led is long past."""

    async def lease_lost(self) -> None:  # noqa: B027
        """Called when this worker leads no more."""

    async def each_step(self) -> None:  # noqa: B027
        """Called in each step of the leader, before its turn."""

    def wake(self) -> None:
        """Something changed: the next turn begins at once. Many wakes are one turn."""
        self._awake.set()

    async def run(self) -> None:
        """Steps until cancelled."""
        while True:
            pause = await self.step()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), pause)

    async def step(self) -> float:
        """A turn, if this worker leads and it is time for one. Returns seconds until the next step."""
        try:
            if not await self.lead():
                self._awake.clear()
                return self._renew_seconds
            await self.each_step()
            if self._awake.is_set() or self._clock.steady() >= self._turn_at:
                self._awake.clear()
                busy = await self.look()
                self._database.is_over()
                self._backend.is_over()
                self._turn_at = self._clock.steady() + (self.busy_seconds if busy else self.idle_seconds)
            return max(0.0, min(self._turn_at - self._clock.steady(), self._renew_seconds))
        except LeaseLostError:
            self.leads = False
            await self.lease_lost()
        except StoreUnavailable:
            self._database.lasts("it cannot be read or written")
        except BackendUnavailable as error:
            self._backend.lasts(str(error.details.get("reason", error.details)))
            return BACKEND_RETRY_SECONDS
        except Exception:  # one bad turn must not be the last one
            self._logger.exception("a turn of the leader failed")
        return self.retry_seconds

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next step after one that failed."""
        return self.idle_seconds

    async def lead(self) -> bool:
        """Holds the lease, or takes it when it is free. Raises StoreUnavailable."""
        at = self._clock.steady()
        if not self.leads or at >= self._renew_at:
            before, self.leads = self.leads, await self._journal.lead()
            self._renew_at = at + self._renew_seconds
            if self.leads and not before:
                self._logger.info("this worker leads from now on")
                self._turn_at = 0.0
                await self.lease_taken()
            if before and not self.leads:
                await self.lease_lost()
        return self.leads

    async def _give_back_lease(self) -> None:
        with suppress(StoreUnavailable):
            await self._journal.give_back()
        self.leads = False
