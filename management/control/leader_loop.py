"""The loop of the worker that leads: it holds the lease, takes turns, and survives errors in a turn."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from management.control.journal import Journal, LeaseLost
from management.errors import BackendUnavailable, StoreUnavailable
from management.faults.outage import Outage

RENEW_FRACTION: Final = 1 / 3
"""Fraction of the lease's duration after which it is renewed."""
BACKEND_RETRY_SECONDS: Final = 1.0
"""Seconds until the next attempt to reach a backend that does not answer."""


class LeaderLoop(ABC):
    """One worker's loop. It does nothing while another worker holds the lease."""

    busy_seconds: float
    """Seconds between two turns while something is on its way."""
    idle_seconds: float
    """Seconds between two turns while nothing is on its way."""

    def __init__(self, journal: Journal, logger: logging.Logger) -> None:
        self.leads = False
        """Whether this worker holds the lease."""
        self._journal, self._clock, self._logger = journal, journal.clock, logger
        self._renew_seconds = journal.lease_seconds * RENEW_FRACTION
        self._renew_at = self._turn_at = 0.0
        self._awake = asyncio.Event()
        self._database, self._backend = Outage(logger, "the database"), Outage(logger, "the backend")

    @abstractmethod
    async def take_turn(self) -> bool:
        """One turn: observe, evaluate, plan, act, record. True when something is on its way."""

    async def lease_taken(self) -> None:  # noqa: B027 - optional for subclasses
        """Called when this worker begins to lead. What it observed when it last led is out of date."""

    async def lease_lost(self) -> None:  # noqa: B027
        """Called when this worker no longer leads."""

    async def each_step(self) -> None:  # noqa: B027
        """Called in each step of the leader, before its turn."""

    def wake(self) -> None:
        """Starts the next turn at once. Several calls before it make one turn."""
        self._awake.set()

    async def run(self) -> None:
        """Runs steps until cancelled."""
        while True:
            pause = await self.step()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), pause)

    async def step(self) -> float:
        """Takes a turn if this worker leads and a turn is due. Returns the seconds until the next step."""
        if self._awake.is_set():
            self._awake.clear()  # also where this step fails: the next one comes after a pause, not at once
            self._turn_at = 0.0
        try:
            if not await self.acquire_lease():
                return self._renew_seconds
            await self.each_step()
            if self._clock.steady() >= self._turn_at:
                busy = await self.take_turn()
                self._database.end()
                self._backend.end()
                self._turn_at = self._clock.steady() + (self.busy_seconds if busy else self.idle_seconds)
            return max(0.0, min(self._turn_at - self._clock.steady(), self._renew_seconds))
        except LeaseLost:
            self.leads = False
            await self.lease_lost()
        except StoreUnavailable:
            self._database.report("it cannot be read or written")
        except BackendUnavailable as error:
            self._backend.report(str(error.details.get("reason", error.details)))
            return BACKEND_RETRY_SECONDS
        except Exception:  # a failed turn must not end the loop
            self._logger.exception("a turn of the leader failed")
        return self.retry_seconds

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next step after a failed one."""
        return self.idle_seconds

    async def acquire_lease(self) -> bool:
        """Renews the lease, or takes it when it is free. True when this worker leads. Raises StoreUnavailable."""
        now = self._clock.steady()
        if not self.leads or now >= self._renew_at:
            before, self.leads = self.leads, await self._journal.take_lease()
            self._renew_at = now + self._renew_seconds
            if self.leads and not before:
                self._logger.info("this worker leads from now on")
                self._turn_at = 0.0
                await self.lease_taken()
            if before and not self.leads:
                await self.lease_lost()
        return self.leads

    async def _give_back_lease(self) -> None:
        with suppress(StoreUnavailable):
            await self._journal.release_lease()
        self.leads = False
