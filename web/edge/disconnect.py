"""Whether the client still waits for the response: long work checks here, and ends when the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

departed: Final[ContextVar[asyncio.Event | None]] = ContextVar("departed", default=None)
"""Set when the client of the current request has disconnected, or was answered without the result of the work.

The outermost layer creates it. Cancelling the application's task is not enough: BentoML's timeout layer runs the
endpoint in another task and does not pass the cancellation on. A context variable is inherited by every new task.
"""


async def while_awaited(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``. Cancel it and raise CancelledError when the client no longer waits."""
    gone = departed.get()
    if gone is None:
        return await work
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise asyncio.CancelledError
    finally:
        task.cancel()
        leaving.cancel()
