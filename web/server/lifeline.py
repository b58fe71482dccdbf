"""Processes that end with the one that started them, however it ends: a killed server leaves nobody on its port."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def end_with(parent: int) -> None:
    """Of this process, whose parent has that id: the system kills it when the parent's thread that began it is gone.

    Also one that hangs or is suspended. It holds for a program that this process becomes, and not for its children.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was over before
        os._exit(1)
