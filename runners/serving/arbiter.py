"""``bentoml serve`` as the project's servers run it: python -m runners.serving.arbiter BENTO [bentoml serve options].

BentoML starts its processes with circus. The differences here:

    no control port  circus accepts commands over TCP from any user of the machine, including ``add``, which runs a
                     command as the owner of the server. Here only signals control it, and it publishes nothing.
    the door first   BentoML keeps the clients' socket open until its workers have ended: a client that connects
                     meanwhile waits and is disconnected without a response. A proxy that retries may reach the same
                     replica again. Here the socket is closed before any worker is stopped.
    a pulse          each worker's event loop sends a heartbeat once a second (``worker.py``). A worker that has served
                     and then falls silent is killed, and circus starts another.
    no disk          the sockets between the processes, and their metrics, are in memory: a full disk stops no model.
    --door PATH      as the first argument: a unix socket instead of a port.

Like ``worker.py``, it imports nothing of the project: replicas of several services run it by path, also in containers.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from _bentoml_impl.server import serving
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils import circus
from bentoml_cli.cli import cli
from circus.controller import Controller
from circus.sockets import CircusSocket
from tornado.ioloop import PeriodicCallback

DOOR: Final = "_bento_api_server"
"""BentoML's name of the socket that clients connect to. The sockets between its processes stay open, because requests
in progress need them."""
WORKER: Final = Path(__file__).with_name("worker.py")
MODULE: Final = "_bentoml_impl.worker.service"
SAFE_PATH: Final = ("-P",)
"""Option with which a script's folder is not imported from; Python has it since 3.11."""
SAFE_PATH_BEFORE: Final = (
    "-c",
    "import runpy, sys; del sys.argv[0], sys.path[0]; runpy.run_path(sys.argv[0], run_name='__main__')",
)
"""What stands for it in earlier ones, in which Bentos of their own environment run."""
PULSE: Final = "ATELIER_PULSE"
"""Environment variable with the arbiter's process id and the descriptor to which workers write their own id."""
BEAT: Final = struct.Struct("<i")
CHECK_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two checks of the heartbeats."""
HANG_SECONDS: Final = 30.0
"""Seconds without a heartbeat after which a worker is killed while another one beats. A busy worker beats, unless
native code holds the interpreter's lock."""
ALL_SILENT_SECONDS: Final = 2 * HANG_SECONDS
"""Seconds without a heartbeat after which a worker is killed while none beats: the machine may be the cause."""
PAUSE_SECONDS: Final = 60.0
"""Seconds between the first two kills in one service; doubled after each kill."""
LONGEST_PAUSE_SECONDS: Final = 900.0
"""Seconds of the longest pause between two kills."""
CALM_SECONDS: Final = 3600.0
"""Seconds without a kill after which the pause is ``PAUSE_SECONDS`` again."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - each server creates a private folder in it
RUN_PREFIX: Final = "atelier-run-"
MIN_FREE_BYTES: Final = 64 * 1024 * 1024
"""Bytes that must be free in ``MEMORY`` to use it."""
LEFTOVER_AGE_SECONDS: Final = 10.0
"""Seconds of age from which an unlocked folder is a leftover, and not one that is being created."""

logger = logging.getLogger("bentoml.atelier")


class _NullSocket:
    """Replaces circus' own sockets and their factory: nothing is opened and nothing is sent."""

    closed = True
    linger = 0

    def socket(self, _: int) -> _NullSocket:
        return self

    def bind(self, _: str) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class _SignalController(Controller):  # type: ignore[misc]
    """Circus' controller without its command socket: only signals control it."""

    def _init_stream(self) -> None:
        self.stream = self.context


class Pulse:
    """The time of each worker's last heartbeat. A worker without any is still starting and is ignored."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard, self.sends_to = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_inheritable(self.sends_to, True)
        self._last: dict[int, float] = {}
        self._checked_at = clock()

    def silent(self, pids: Collection[int]) -> dict[int, float]:
        """Return the workers of ``pids`` that hang, with their seconds without a heartbeat."""
        now, before = self._clock(), self._checked_at
        self._checked_at = now
        for pid in self._beats():
            self._last[pid] = now
        self._last = {pid: last for pid, last in self._last.items() if pid in pids}
        if now - before > 5 * CHECK_INTERVAL_SECONDS:  # this process itself was delayed: restart all counts
            self._last = dict.fromkeys(self._last, now)
        silences = {pid: now - last for pid, last in self._last.items()}
        some_beat = any(seconds < 5 * CHECK_INTERVAL_SECONDS for seconds in silences.values())
        limit = HANG_SECONDS if some_beat else ALL_SILENT_SECONDS
        return {pid: seconds for pid, seconds in silences.items() if seconds > limit}

    def _beats(self) -> set[int]:
        received = b""
        with suppress(BlockingIOError):
            while piece := os.read(self._heard, 65536):
                received += piece
        return {pid for (pid,) in BEAT.iter_unpack(received[: len(received) // BEAT.size * BEAT.size])}


class Pauses:
    """The pauses between kills in one service: a worker that hangs after every start is killed less and less often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kills: dict[str, tuple[float, float]] = {}
        """Time of the last kill and seconds of the pause after it, by service."""

    def over(self, service: str) -> bool:
        """Return whether a worker of the service may be killed; if so, start the next pause."""
        now = self._clock()
        last, pause = self._kills.get(service, (-CALM_SECONDS, 0.0))
        if now - last < pause:
            return False
        calm = now - last > CALM_SECONDS
        longer = min(LONGEST_PAUSE_SECONDS, max(PAUSE_SECONDS, 2 * pause))
        self._kills[service] = (now, PAUSE_SECONDS if calm else longer)
        return True


class Arbiter(circus.Arbiter):
    """BentoML's arbiter with the differences that the module docstring lists."""

    pulse: Pulse
    door: str | None = None

    def __init__(self, watchers: list[Any], *arguments: Any, sockets: list[CircusSocket], **options: Any) -> None:
        for watcher in watchers:
            watcher.args = _through_worker(watcher.args)
        super().__init__(watchers, *arguments, sockets=[self._relocated(socket) for socket in sockets], **options)
        self._pauses = Pauses()

    def _relocated(self, socket: CircusSocket) -> CircusSocket:
        if self.door is None or socket.name != DOOR:
            return socket
        socket.close()
        return CircusSocket(name=DOOR, path=self.door, backlog=socket.backlog, umask=0o177)

    def _init_context(self, _: object) -> None:
        self.context = _NullSocket()
        self._ensure_ioloop()
        self.ctrl = _SignalController(self.endpoint, None, self.context, self.loop, self, self.check_delay)

    def start(self, cb: Callable[[Any], Any] | None = None) -> None:
        """Serve until stopped, and check the heartbeats."""
        PeriodicCallback(self._kill_hanging, CHECK_INTERVAL_SECONDS * 1000).start()
        super().start(cb)

    def _kill_hanging(self) -> None:
        """Kill the workers that hang; circus starts others in their place."""
        services = {pid: watcher.name for watcher in self.iter_watchers() for pid in watcher.processes}
        for pid, seconds in self.pulse.silent(services).items():
            if not self._stopping and self._pauses.over(services[pid]):
                logger.error("process %d (%s) has hung for %.0f s: it is killed", pid, services[pid], seconds)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Close the clients' socket, if it is open, then stop the workers."""
        if DOOR in self.sockets:
            self.sockets[DOOR].close()
        super().stop()


def run_folder() -> Path | None:
    """Create a private folder in memory for sockets and metrics; return None if there is no room.

    On a full disk, a process that writes to a memory-mapped metrics file would be killed by SIGBUS.
    """
    with suppress(OSError):
        disk = os.statvfs(MEMORY)
        if disk.f_bavail * disk.f_frsize > MIN_FREE_BYTES:
            _sweep()
            folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=MEMORY))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX)  # held until this process ends
            return folder
    return None


def _sweep() -> None:
    """Remove the folders of arbiters that were killed."""
    for folder in MEMORY.glob(f"{RUN_PREFIX}*"):
        with suppress(OSError):
            status = folder.stat()
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > LEFTOVER_AGE_SECONDS:
                descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                finally:
                    os.close(descriptor)


def _through_worker(arguments: list[str]) -> list[str]:
    """Return a worker's command with ``worker.py``, which runs BentoML's module, in place of that module."""
    index = arguments.index(MODULE)
    options = SAFE_PATH if hasattr(sys.flags, "safe_path") else SAFE_PATH_BEFORE
    return [*options, str(WORKER), *arguments[index + 1 :]]


def main() -> None:
    """Serve until stopped; the exit status is BentoML's."""
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))  # for the connections of all workers
    arguments = sys.argv[1:]
    if arguments[:1] == ["--door"]:
        Arbiter.door = arguments[1]
        arguments = arguments[2:]
    Arbiter.pulse = Pulse()
    os.environ[PULSE] = f"{os.getpid()}:{Arbiter.pulse.sends_to}"  # before BentoML copies the environment
    if (folder := run_folder()) is not None:
        tempfile.tempdir = str(folder)  # where this process creates the sockets to its workers
        BentoMLContainer.prometheus_multiproc_dir.set(str(folder / "metrics"))
    os.environ.pop("BENTOML_NO_UDS", None)  # with it, BentoML would open a TCP port for each model
    serving.IS_WSL = False  # the same
    circus.Arbiter = Arbiter  # type: ignore[misc]
    cli(["serve", *arguments], prog_name="bentoml")


if __name__ == "__main__":
    main()
