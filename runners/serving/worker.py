"""One worker of ``bentoml serve`` under our arbiter: BentoML's own, which ends with its arbiter and has a pulse.

A worker whose arbiter was killed would go on holding the port, and nobody would ever end it. And nobody would notice
one that hangs: it accepts no connection, and its port is open all the same. See ``arbiter.py``; it stands alone, too.
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
TICKS: Final = 10
"""Of uvicorn's loop between two beats; it has ten a second."""
PR_SET_PDEATHSIG: Final = 1


class Beating(uvicorn.Server):
    """uvicorn, whose event loop says now and then that it runs; never before the worker is ready to serve."""

    pulse: int

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % TICKS == 0:
            with suppress(OSError):  # full, of an arbiter that is held up: it knows
                os.write(self.pulse, BEAT.pack(os.getpid()))
        return await super().on_tick(counter)


def end_with(parent: int) -> None:
    """The system kills this process when its parent ends, however it does, and also when this one hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was over before
        os._exit(1)


def keep_only(socket_fd: int) -> None:
    """Closes the sockets of the other services, which circus hands to all: one that hangs must keep nobody's open."""
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # it is no socket
            found = socket.socket(fileno=number)
            accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            found.detach()
            if accepts and number != socket_fd:
                os.close(number)


def _option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def main() -> None:
    """Serves until stopped."""
    parent, Beating.pulse = map(int, os.environ.pop(PULSE).split(":"))
    end_with(parent)
    os.set_inheritable(Beating.pulse, False)  # ours alone: a child must not beat for us
    keep_only(int(_option("--fd")))
    os.environ[SERVICE] = _option("--service-name")
    uvicorn.Server = Beating  # type: ignore[misc]
    sys.path.insert(0, os.getcwd())  # as for a module that Python runs by its name
    serve()


if __name__ == "__main__":
    main()
