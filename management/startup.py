"""Starts the management at once, or as soon as its database is available; the server's other parts run meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from management.errors import StoreUnavailable
from management.faults.disk import is_full
from management.faults.outage import Outage

RETRY_SECONDS: Final = 2.0
"""Seconds between two attempts to open a database that is not available."""
UNAVAILABLE: Final = (
    "the database in %s is not available, perhaps because its disk is full, or its server does not answer: models are "
    "neither deployed nor managed, and everything else is served; the next attempt follows in a few seconds"
)
"""Log line at a start without a database."""

logger = logging.getLogger(__name__)


async def opened(place: str, begin: Callable[[], Awaitable[None]]) -> asyncio.Task[None] | None:
    """Begins, or returns a task that retries while the database is unavailable. Raises errors that no retry mends."""
    if await _try_begin(begin):
        return None
    logger.error(UNAVAILABLE, place)
    return asyncio.create_task(_retry(begin))


async def _retry(begin: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        try:
            begun = await _try_begin(begin)
        except Exception:
            logger.exception("the management cannot start; the next attempt is in %g s", RETRY_SECONDS)
            continue
        if begun:
            logger.warning("the database is available now; models are managed from now on")
            return


async def _try_begin(begin: Callable[[], Awaitable[None]]) -> bool:
    try:
        await begin()
    except StoreUnavailable:
        return False
    except OSError as error:
        if is_full(error):
            return False
        raise
    return True


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Runs the work after each such interval until cancelled. An error is logged and does not end it."""
    database = Outage(logger, "the database")
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
            database.end()
        except StoreUnavailable:
            database.report("it cannot be read or written")
        except Exception:
            logger.exception("periodic work failed; the next attempt is in %g s", seconds)
