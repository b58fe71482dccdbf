"""What stands over one replica of this machine: keeps the end of its log, and nothing of it after its end.

A process of its own, begun by ``process.py`` and run by path: it outlives the control plane as the replica does, and
works also while the model holds the interpreter's lock. It needs Python's own modules alone.

    the log       what the replica writes, and what its children write, comes through a pipe. Only the end is kept,
                  in ``log`` and ``log.1``, however fast it comes; a disk that is nearly full is left alone, and the
                  writer never waits for it.
    its family    whatever it starts, in whatever session, with whatever environment, stays a descendant of this
                  process (a "child subreaper") and is killed when the replica has ended.
    its end       this process ends as the replica did: by the same signal, or with the same status. Should this one
                  be killed, the system kills the replica, and another one is started.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
PIPE_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 64 * 1024
TURN_SECONDS: Final = 0.1
TURN_BYTES: Final = 1024 * 1024
"""That one log writes to the disk in a turn; what comes faster waits for the next one, and its beginning is dropped."""
SPARE_BYTES: Final = 4 * 1024 * 1024
"""Of the disk that logs leave to others."""
FAMILY_SECONDS: Final = 5.0
"""For killing all descendants: new ones may be started meanwhile."""
DRAIN_SECONDS: Final = 1.0
"""For reading what the replica wrote last, while somebody that cannot be killed may hold the pipe."""


class Log:
    """The end of a stream in two files, which together never have more than so many bytes."""

    def __init__(self, folder: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._part, self._clock = folder, most // 2, clock
        self._pending = bytearray()
        self._lost = 0
        self._turn_at, self._written = -TURN_SECONDS, 0
        self._file: int | None = None

    @property
    def wait(self) -> float | None:
        """Seconds until there is something to be written; None where there is nothing."""
        if not self._pending:
            return None
        return max(0.0, self._turn_at + TURN_SECONDS - self._clock()) if self._written >= TURN_BYTES else 0.0

    def add(self, data: bytes) -> None:
        """What came now; written at once while there is not much of it."""
        self._pending += data
        excess = len(self._pending) - min(TURN_BYTES, self._part // 2)
        if excess > 0:
            self._lost += excess
            del self._pending[:excess]
        if self.wait == 0.0:
            self.write()

    def write(self) -> None:
        """Writes what is pending; where that is not possible, its end is kept for later."""
        if self._clock() - self._turn_at >= TURN_SECONDS:
            self._turn_at, self._written = self._clock(), 0
        try:
            if not self._pending or _free(self._folder) < SPARE_BYTES:
                self._written = TURN_BYTES  # it is tried again in the next turn
                return
            if self._lost:
                self._append(b"\n[%d bytes are left out here]\n" % self._lost)
                self._lost = 0
            self._append(self._pending)
            self._written += len(self._pending)
            self._pending.clear()
        except OSError:  # the disk is full, or the folder is being removed
            self._written = TURN_BYTES
            self._close()

    def _append(self, data: bytes | bytearray) -> None:
        file = self._opened()
        if os.fstat(file).st_size + len(data) > self._part:
            file = self._turned()
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(f"{self._folder}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self._file

    def _turned(self) -> int:
        """A new file; what was the older part makes room for it."""
        os.rename(f"{self._folder}/log", f"{self._folder}/log.1")
        self._close()
        return self._opened()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _free(folder: str) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class KeptProcess:
    """The process that is kept, which writes into our pipe."""

    def __init__(self, command: list[str]) -> None:
        self.output, writes = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.output, False)
        keeper = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            _become(command, writes, keeper)
        os.close(writes)
        self.status: int | None = None
        """How it ended, as ``waitpid`` has it."""

    def reap(self) -> None:
        """Takes note of who has ended: the replica, or what it left behind, which became ours."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.pid:
                    self.status = status

    def read(self) -> bytes | None:
        """What it wrote since; None when nothing is there, and empty when nobody can write any more."""
        try:
            return os.read(self.output, PIECE_BYTES)
        except BlockingIOError:
            return None


def _become(command: list[str], output: int, keeper: int) -> None:
    """In the fork: the replica, which ends with its keeper."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:  # else it was over before
            os.setsid()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.execv(command[0], command)  # noqa: S606
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def kept(replica: KeptProcess, log: Log, woken: int) -> None:
    """Until the replica has ended; its log is kept meanwhile."""
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(replica.output, select.POLLIN)
    while replica.status is None:
        wait = log.wait
        for file, _ in poll.poll(None if wait is None else wait * 1000):
            if file == woken:
                with suppress(BlockingIOError):
                    os.read(woken, 4096)
            elif data := replica.read():
                log.add(data)
            elif data is not None:  # it closed its output
                poll.unregister(replica.output)
        replica.reap()
        if log.wait == 0.0:
            log.write()


def end_family(replica: KeptProcess) -> None:
    """Kills every descendant of this process, until there is none."""
    deadline = time.monotonic() + FAMILY_SECONDS
    while (family := _descendants()) and time.monotonic() < deadline:
        for pid in family:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        replica.reap()


def _descendants() -> list[int]:
    """All of them but those that have ended."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(name))
    family = [os.getpid()]
    for pid in family:  # which grows by each one's children
        family += children.get(pid, [])
    return family[1:]


def drain(replica: KeptProcess, log: Log) -> None:
    """Keeps what was written last."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (data := replica.read()) and time.monotonic() < deadline:
        log.add(data)
    log.write()


def end_like(status: int) -> None:
    """Ends this process as the one with that status ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it is not this process that failed
        with suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def main() -> None:
    """Runs a command, whose process id is written to a descriptor.

    All this is read from standard input, with zeros between: a command line that names the replica is the replica's.
    """
    folder, most, told, *command = _input().split("\0")
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(int(told), False)
    replica = KeptProcess(command)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(replica))
    with suppress(OSError):  # who started us is gone
        os.write(int(told), str(replica.pid).encode())
    os.close(int(told))
    log = Log(folder, int(most))
    kept(replica, log, woken)
    end_family(replica)
    drain(replica, log)
    assert replica.status is not None  # noqa: S101
    end_like(replica.status)


def _input() -> str:
    """All of it; nobody reads any more afterwards."""
    with open(0, "rb", closefd=False) as file:
        given = os.fsdecode(file.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return given


def _pass_on(replica: KeptProcess) -> None:
    """To be asked to end is the replica's business."""
    try:
        os.kill(replica.pid, signal.SIGTERM)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


if __name__ == "__main__":
    main()
