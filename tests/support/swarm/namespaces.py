"""Code that runs in another network namespace, beside other threads that do not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000


def run_in(namespace: Path | None, work: Callable[[], Awaitable[None]], seconds: float = 240.0) -> None:
    """Run this in an event loop of a thread that is in the network namespace of that file; None stays in this one.

    Threads that it starts are in the namespace, too. Raises what the work raises.
    """
    failures: list[BaseException] = []

    def target() -> None:
        try:
            if namespace is not None:
                _enter(namespace)
            asyncio.run(asyncio.wait_for(_awaited(work), seconds))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target, name="in-namespace")
    thread.start()
    thread.join(seconds + 30)
    if failures:
        raise failures[0]
    assert not thread.is_alive()


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _enter(namespace: Path) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
