"""What callers want of the models: told by every worker, added up by whoever decides."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import uuid4

from management.domain.records import Demand
from management.gateway.route_table import Route
from management.store import Store

REPORT_SECONDS: Final = 1.0
"""Between two reports of a worker that has something to say."""
FOLD_SECONDS: Final = 60.0
"""After which a report is taken for that of a worker that is gone; of all of them one row is kept."""


class Reporter:
    """Tells what this worker is asked for."""

    def __init__(self, store: Store, routes: Iterable[Route]) -> None:
        self.worker = uuid4().hex
        self._store, self._routes = store, routes
        self._told: Mapping[str, Demand] = {}
        self._fold_at = 0.0

    async def report(self) -> None:
        """Says what has changed since the last report, and what goes on; nothing, if nobody asks."""
        at = time.time()
        now = {one.deployment_id: one for one in self._demands(at)}
        news = [one for one in now.values() if self._is_news(one)]
        if news:
            await self._store.write(lambda session: session.demands.put(news), counted=False)
        if at >= self._fold_at:
            await self._store.write(lambda session: session.demands.fold(at - FOLD_SECONDS), counted=False)
            self._fold_at = at + 60 * FOLD_SECONDS
        self._told = now

    def _demands(self, at: float) -> Iterable[Demand]:
        for route in self._routes:
            if route.asked_at:
                line = route.line
                yield Demand(
                    self.worker, route.deployment.id, line.in_flight, line.waiting, line.places, route.asked_at, at
                )

    def _is_news(self, one: Demand) -> bool:
        """Also the first quiet after something: what is still in flight by the last report would be believed."""
        before = self._told.get(one.deployment_id)
        busy = one.in_flight + one.waiting > 0
        return busy or before is None or before.in_flight + before.waiting > 0 or before.asked_at != one.asked_at
