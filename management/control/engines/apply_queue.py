"""Gives an engine its orders, each in a task of its own: one may last for as long as a model takes to be sent there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from management.backends.base import LaunchRefused
from management.backends.engine import Engine, EngineSpec
from management.domain.backoff import backoff
from management.domain.clock import Clock
from management.errors import BackendUnavailable

MAX_ATTEMPTS: Final = 8
"""Of one order that the engine takes and does not show: each costs a roll-out there."""
LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries at most."""
UNKEPT: Final = "the engine takes the order, and does not keep it"

logger = logging.getLogger(__name__)


@dataclass
class _Given:
    order: EngineSpec
    tries: int = 0
    next_at: float = 0.0
    taken_at: float | None = None
    task: asyncio.Task[None] | None = None
    refusal: str | None = None


class ApplyQueue:
    """The last order of each deployment, and what came of it."""

    def __init__(self, engine: Engine, clock: Clock, retry_seconds: float, done: Callable[[], None]) -> None:
        """``done`` is called when one was taken, refused, or could not be given."""
        self._engine, self._clock, self._retry_seconds, self._done = engine, clock, retry_seconds, done
        self._given: dict[str, _Given] = {}

    def submit(self, order: EngineSpec) -> None:
        """Gives it, unless that is under way or was tried a moment ago; another one of the deployment is given up."""
        given = self._given.get(order.deployment_id)
        if given is None or given.order != order:
            if given is not None and given.task is not None:
                given.task.cancel()  # which ends what it had begun; this one is given after it
                return
            given = self._given[order.deployment_id] = _Given(order)
        if given.task is None and self._clock.steady() >= given.next_at:
            given.task = asyncio.create_task(self._give(given))

    async def _give(self, given: _Given) -> None:
        failures = 1
        try:
            if given.tries >= MAX_ATTEMPTS:
                raise LaunchRefused(UNKEPT)
            await self._engine.apply(given.order)
            given.tries += 1
            given.taken_at = self._clock.steady()
            failures += given.tries  # an order that is taken and not shown costs a roll-out each time
        except LaunchRefused as refused:
            given.refusal = str(refused)
        except BackendUnavailable as error:
            logger.warning("model %s: its order could not be given: %s", given.order.model_id, error.details)
        except Exception:  # it is tried again
            logger.exception("model %s: its order could not be given", given.order.model_id)
        finally:
            given.next_at = self._clock.steady() + backoff(failures, self._retry_seconds, LONGEST_PAUSE)
            given.task = None
            self._done()

    def refusal(self, order: EngineSpec) -> str | None:
        """Why this order was refused, told once."""
        given = self._given.get(order.deployment_id)
        if given is None or given.refusal is None:
            return None
        del self._given[order.deployment_id]
        return given.refusal if given.order == order else None

    def confirmed(self, deployment_id: str) -> None:
        """The engine shows what it was told: the next order is a first try."""
        given = self._given.get(deployment_id)
        if given is not None and given.task is None:
            del self._given[deployment_id]

    def in_grace(self, order: EngineSpec, seconds: float) -> bool:
        """Whether it was taken less than so long ago, or is being given, and the engine has not moved since."""
        given = self._given.get(order.deployment_id)
        if given is None or given.order != order:
            return False
        return given.task is not None or (given.taken_at or -seconds) + seconds > self._clock.steady()

    def under_way(self) -> bool:
        """Whether anything is being given."""
        return any(one.task is not None for one in self._given.values())

    async def drop(self, deployment_id: str) -> None:
        """Nothing of this deployment is given any more, from the return on."""
        given = self._given.get(deployment_id)
        if given is not None:
            await _over(given)
            self._given.pop(deployment_id, None)

    async def close(self) -> None:
        """Gives up whatever is under way."""
        for one in list(self._given):
            await self.drop(one)


async def _over(given: _Given) -> None:
    if given.task is not None:
        given.task.cancel()
        await asyncio.gather(given.task, return_exceptions=True)
