"""Whether whoever asked still waits for the answer: long work looks here, and ends when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

departed: Final[ContextVar[asyncio.Event | None]] = ContextVar("departed", default=None)
"""Set when the caller of the request that is being served has left, or has been answered without the work's result.

The outermost layer makes it. To cancel the application's task is not enough: BentoML's timeout layer works in another
one, and does not pass the cancellation on; a context goes wherever tasks are made.
"""


async def while_awaited(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled with CancelledError when nobody waits for it any more."""
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
