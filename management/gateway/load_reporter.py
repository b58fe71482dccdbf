"""What callers want of the models: told by every worker, added up by whoever decides."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from management.domain.records import Demand
from management.gateway.route_table import Route
from management.store import Store

REPORT_SECONDS: Final = 1.0
"""Between two reports of a worker that has something to say."""
FRESH_SECONDS: Final = 4.0
"""For which a report says what is in flight and what waits."""
FOLD_SECONDS: Final = 60.0
"""After which a report is taken for that of a worker that is gone; of all of them one row is kept."""


@dataclass(frozen=True)
class Wanted:
    """What all workers say of one model."""

    in_flight: int = 0
    waiting: int = 0
    places: int = 0
    asked_at: float = 0.0
    """Unix time of the last request; 0 for none."""
    told_at: float = 0.0
    """Unix time of the last report."""

    @property
    def busy(self) -> bool:
        """Whether anybody is asking now."""
        return self.in_flight + self.waiting > 0


def added_up(demands: Iterable[Demand], now: float) -> dict[str, Wanted]:
    """By deployment. What a worker said too long ago counts only for when it was asked."""
    found: dict[str, Wanted] = {}
    for one in demands:
        before = found.get(one.deployment_id, Wanted())
        fresh = now - one.at <= FRESH_SECONDS
        found[one.deployment_id] = Wanted(
            before.in_flight + one.in_flight * fresh,
            before.waiting + one.waiting * fresh,
            before.places + one.places * fresh,
            max(before.asked_at, one.asked_at),
            max(before.told_at, one.at),
        )
    return found


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
