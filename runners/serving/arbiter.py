"""``bentoml serve`` as our servers run it: python -m runners.serving.arbiter BENTO [what bentoml serve takes].

BentoML starts its processes by circus. What differs here:

    no control port  circus takes commands over TCP from any user of the machine, ``add`` among them, which runs what it
                     is given as the owner of the server. Here signals alone command it, and it publishes nothing.
    the door first   BentoML keeps the socket that callers connect to until its workers have ended: who connects
                     meanwhile waits, and is thrown out unanswered. A proxy that asks another replica may so come upon
                     the same one again. Here the socket is let go of before any worker is told to end.
    a pulse          each worker's event loop beats once a second (``worker.py``). One that has served and falls silent
                     is killed, and circus starts another.
    no disk          the sockets between the processes, and their counts, lie in memory: no full disk stops a model.
    --door PATH      as the first argument: a unix socket instead of a port.

It stands alone, as ``worker.py`` does: replicas of several services run it by path, also in containers.
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
"""BentoML's name of the socket that callers connect to. Those between its own processes stay open: requests that are
being answered need them."""
WORKER: Final = Path(__file__).with_name("worker.py")
MODULE: Final = "_bentoml_impl.worker.service"
PULSE: Final = "ATELIER_PULSE"
"""The variable by which workers know the arbiter's process id, and the descriptor that they write their own to."""
BEAT: Final = struct.Struct("<i")
LOOK_SECONDS: Final = 1.0
HANG_SECONDS: Final = 30.0
"""Silence after which a worker is killed while another one beats; one beats that is busy, unless native code holds
the interpreter's lock."""
ALONE_SECONDS: Final = 2 * HANG_SECONDS
"""The same where none beats: it may be the machine."""
PAUSE_SECONDS: Final = 60.0
"""After a worker of a service was killed, until the next one of it may be; doubled each time."""
LONGEST_PAUSE: Final = 900.0
CALM_SECONDS: Final = 3600.0
"""Without a kill, after which the pause is the first one again."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - in it, a folder is made anew for us alone
RUN: Final = "atelier-run-"
LEAST_MEMORY: Final = 64 * 1024 * 1024
"""Bytes that are free there, so that a part may be ours."""
RUN_SECONDS: Final = 10.0
"""Age at which a folder that nobody holds has been left behind, and is not just being made."""

logger = logging.getLogger("bentoml.atelier")


class _Unheard:
    """Stands for every socket of circus' own, and for what makes them: nothing is opened, nobody hears."""

    closed = True
    linger = 0

    def socket(self, _: int) -> _Unheard:
        return self

    def bind(self, _: str) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Signals(Controller):  # type: ignore[misc]
    """Circus' controller, which signals alone command."""

    def _init_stream(self) -> None:
        self.stream = self.context


class Pulse:
    """When each worker last beat. One that never did is still starting, and is nobody's business here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard, self.sends_to = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_inheritable(self.sends_to, True)
        self._last: dict[int, float] = {}
        self._looked_at = clock()

    def silent(self, pids: Collection[int]) -> dict[int, float]:
        """Those of these workers that hang, and for how many seconds each has been silent."""
        at, before = self._clock(), self._looked_at
        self._looked_at = at
        for pid in self._beats():
            self._last[pid] = at
        self._last = {pid: last for pid, last in self._last.items() if pid in pids}
        if at - before > 5 * LOOK_SECONDS:  # this process was held up itself: whoever was, too, gets its time
            self._last = dict.fromkeys(self._last, at)
        silences = {pid: at - last for pid, last in self._last.items()}
        some_beat = any(seconds < 5 * LOOK_SECONDS for seconds in silences.values())
        most = HANG_SECONDS if some_beat else ALONE_SECONDS
        return {pid: seconds for pid, seconds in silences.items() if seconds > most}

    def _beats(self) -> set[int]:
        heard = b""
        with suppress(BlockingIOError):
            while piece := os.read(self._heard, 65536):
                heard += piece
        return {pid for (pid,) in BEAT.iter_unpack(heard[: len(heard) // BEAT.size * BEAT.size])}


class Pauses:
    """Between two kills in one service: what hangs each time it starts is not killed for ever at that rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kills: dict[str, tuple[float, float]] = {}
        """By service: when the last one was, and the pause after it."""

    def over(self, service: str) -> bool:
        """Whether a worker of the service may be killed; if so, the next pause begins."""
        at = self._clock()
        last, pause = self._kills.get(service, (-CALM_SECONDS, 0.0))
        if at - last < pause:
            return False
        calm = at - last > CALM_SECONDS
        self._kills[service] = (at, PAUSE_SECONDS if calm else min(LONGEST_PAUSE, max(PAUSE_SECONDS, 2 * pause)))
        return True


class Arbiter(circus.Arbiter):
    """BentoML's, as the module says."""

    pulse: Pulse
    door: str | None = None

    def __init__(self, watchers: list[Any], *arguments: Any, sockets: list[CircusSocket], **options: Any) -> None:
        for watcher in watchers:
            watcher.args = _through_worker(watcher.args)
        super().__init__(watchers, *arguments, sockets=[self._placed(one) for one in sockets], **options)
        self._pauses = Pauses()

    def _placed(self, socket: CircusSocket) -> CircusSocket:
        if self.door is None or socket.name != DOOR:
            return socket
        socket.close()
        return CircusSocket(name=DOOR, path=self.door, backlog=socket.backlog, umask=0o177)

    def _init_context(self, _: object) -> None:
        self.context = _Unheard()
        self._ensure_ioloop()
        self.ctrl = _Signals(self.endpoint, None, self.context, self.loop, self, self.check_delay)

    def start(self, cb: Callable[[Any], Any] | None = None) -> None:
        """Serves until stopped."""
        PeriodicCallback(self._look, LOOK_SECONDS * 1000).start()
        super().start(cb)

    def _look(self) -> None:
        """Kills the workers that hang; circus starts others in their place."""
        services = {pid: watcher.name for watcher in self.iter_watchers() for pid in watcher.processes}
        for pid, seconds in self.pulse.silent(services).items():
            if not self._stopping and self._pauses.over(services[pid]):
                logger.error("process %d (%s) has hung for %.0f s: it is killed", pid, services[pid], seconds)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Asks the workers to end, and ends; the door may be closed already."""
        if DOOR in self.sockets:
            self.sockets[DOOR].close()
        super().stop()


def run_folder() -> Path | None:
    """A new folder of this process alone, in memory, for sockets and counts; None where memory has no place for it.

    A full disk stops none of them there. Whoever writes to a file of counts that is mapped from one is ended by SIGBUS.
    """
    with suppress(OSError):
        disk = os.statvfs(MEMORY)
        if disk.f_bavail * disk.f_frsize > LEAST_MEMORY:
            _sweep()
            folder = Path(tempfile.mkdtemp(prefix=RUN, dir=MEMORY))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX)  # for as long as we live
            return folder
    return None


def _sweep() -> None:
    """Removes what arbiters left that were killed."""
    for folder in MEMORY.glob(f"{RUN}*"):
        with suppress(OSError):
            about = folder.stat()
            if about.st_uid == os.geteuid() and time.time() - about.st_mtime > RUN_SECONDS:
                held = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                finally:
                    os.close(held)


def _through_worker(arguments: list[str]) -> list[str]:
    """A worker's command with ``worker.py`` in place of BentoML's module, which it runs."""
    at = arguments.index(MODULE)
    return ["-P", str(WORKER), *arguments[at + 1 :]]


def main() -> None:
    """Serves until stopped; the exit status is BentoML's."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # connections, of all workers
    arguments = sys.argv[1:]
    if arguments[:1] == ["--door"]:
        Arbiter.door = arguments[1]
        arguments = arguments[2:]
    Arbiter.pulse = Pulse()
    os.environ[PULSE] = f"{os.getpid()}:{Arbiter.pulse.sends_to}"  # before BentoML copies the environment
    if (folder := run_folder()) is not None:
        tempfile.tempdir = str(folder)  # of this process: the sockets to its workers
        BentoMLContainer.prometheus_multiproc_dir.set(str(folder / "metrics"))
    os.environ.pop("BENTOML_NO_UDS", None)  # it would open a port to each model
    serving.IS_WSL = False  # likewise
    circus.Arbiter = Arbiter  # type: ignore[misc]
    cli(["serve", *arguments], prog_name="bentoml")


if __name__ == "__main__":
    main()
