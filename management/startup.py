"""How the management begins: at once, or as soon as its database can be used; whoever stands beside it serves on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from management.errors import StoreUnavailable
from management.faults.disk import is_full
from management.faults.outage import Outage

AGAIN_SECONDS: Final = 2.0
"""Between two tries to open a database that is not available."""
AWAY: Final = (
    "the database in %s is not available, perhaps because its disk is full: models are neither deployed nor managed, "
    "and everything else is served; it is tried again every few seconds"
)

logger = logging.getLogger(__name__)


async def opened(home: Path, begin: Callable[[], Awaitable[None]]) -> asyncio.Task[None] | None:
    """Begins, or gives a task that goes on trying where the database refuses. Raises what no waiting mends."""
    if await _begun(begin):
        return None
    logger.error(AWAY, home)
    return asyncio.create_task(_later(begin))


async def _later(begin: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(AGAIN_SECONDS)
        try:
            begun = await _begun(begin)
        except Exception:
            logger.exception("the management cannot begin; it is tried again in %g s", AGAIN_SECONDS)
            continue
        if begun:
            logger.warning("the database can be used now; models are managed from here on")
            return


async def _begun(begin: Callable[[], Awaitable[None]]) -> bool:
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
    """Does it again and again; what fails once is tried the next time, and is not the last one."""
    database = Outage(logger, "the database")
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
            database.end()
        except StoreUnavailable:
            database.report("it cannot be read or written")
        except Exception:
            logger.exception("it is tried again in %g s", seconds)
