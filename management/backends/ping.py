"""Whether a backend answers now, asked once for all who want to know at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

PING_SECONDS: Final = 1.0
"""Seconds that a backend has to answer a ping, and for which the answer is valid."""


class Ping:
    """Concurrent callers share one ping, and the later ones of the same second its answer."""

    def __init__(self, ask: Callable[[], Awaitable[object]], *away: type[Exception]) -> None:
        """``ask`` raises one of ``away`` where the backend does not answer."""
        self._ask, self._away = ask, away
        self._asked: asyncio.Task[bool] | None = None
        self._valid_until = 0.0

    async def answers(self) -> bool:
        """Return whether the backend answers, within about a second."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or (self._asked.done() and now >= self._valid_until):
            self._asked, self._valid_until = asyncio.create_task(self._answered()), now + PING_SECONDS
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), PING_SECONDS)
        except TimeoutError:
            return False

    async def _answered(self) -> bool:
        try:
            await self._ask()
        except self._away:
            return False
        return True
