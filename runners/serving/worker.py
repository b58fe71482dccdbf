"""A worker of ``bentoml serve`` under the arbiter: BentoML's worker, which ends with its arbiter and sends heartbeats.

Without this, a worker whose arbiter was killed would hold the port forever. A worker that hangs would go unnoticed: it
accepts no connection although its port is open. Like ``arbiter.py``, it imports nothing of the project.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

import uvicorn
from _bentoml_impl.worker.service import main as serve

PULSE: Final = "ATELIER_PULSE"
SERVICE: Final = "ATELIER_WORKER_SERVICE"
"""Variable that names the service of this process, so that its code need not load the others."""
BEAT: Final = struct.Struct("<i")
TICKS_PER_BEAT: Final = 10
"""Ticks of uvicorn's main loop between two heartbeats; there are ten per second."""
PR_SET_PDEATHSIG: Final = 1


class Beating(uvicorn.Server):
    """A uvicorn server whose event loop sends a heartbeat each second, once the worker is ready to serve."""

    pulse: int

    async def on_tick(self, counter: int) -> bool:
        """Send a heartbeat every ``TICKS_PER_BEAT`` calls; uvicorn calls this ten times a second."""
        if counter % TICKS_PER_BEAT == 0:
            with suppress(OSError):  # the pipe of a delayed arbiter is full: the arbiter allows for that
                os.write(self.pulse, BEAT.pack(os.getpid()))
        return await super().on_tick(counter)


def end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, even if this process hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(1)


def keep_only(socket_fd: int) -> None:
    """Close the listening sockets of other services, which circus passes to every worker: a hang must not hold them."""
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # not a socket
            inherited = socket.socket(fileno=number)
            accepts = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            inherited.detach()
            if accepts and number != socket_fd:
                os.close(number)


def _option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def main() -> None:
    """Serve until stopped."""
    parent, Beating.pulse = map(int, os.environ.pop(PULSE).split(":"))
    end_with(parent)
    os.set_inheritable(Beating.pulse, False)  # child processes must not send heartbeats
    keep_only(int(_option("--fd")))
    os.environ[SERVICE] = _option("--service-name")
    uvicorn.Server = Beating  # type: ignore[misc]
    sys.path.insert(0, os.getcwd())  # as ``python -m`` does
    serve()


if __name__ == "__main__":
    main()
