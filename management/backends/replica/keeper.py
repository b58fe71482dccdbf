"""Keeper: the parent process of one replica on this machine. It keeps the end of its log and kills what it leaves.

It is a process of its own, started by the process launcher and run by path: it outlives the control plane as the
replica does, and works while the model holds the interpreter's lock. It needs only Python's standard library.

    the log       the output of the replica and of its children comes through a pipe. Only the end is kept, in ``log``
                  and ``log.1``, however fast it comes; nothing is written to a disk that is nearly full, and the
                  replica never waits for the disk.
    the family    every process that the replica starts, in any session and environment, stays a descendant of this
                  process (a "child subreaper") and is killed when the replica has ended.
    the end       this process ends as the replica did: by the same signal, or with the same status. If this process
                  is killed, the system kills the replica, and the control plane starts another one.
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
"""Bytes that the pipe from the replica holds."""
READ_BYTES: Final = 64 * 1024
"""Bytes that are read from the pipe at a time."""
TURN_SECONDS: Final = 0.1
"""Seconds of one turn of writing to the disk."""
TURN_BYTES: Final = 1024 * 1024
"""Bytes that a log writes to the disk in one turn. More output waits for the next; its beginning is dropped."""
SPARE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the disk that logs leave free."""
FAMILY_SECONDS: Final = 5.0
"""Seconds for killing all descendants, which may start new ones meanwhile."""
DRAIN_SECONDS: Final = 1.0
"""Seconds for reading the last output, while a process that cannot be killed may hold the pipe open."""


class Log:
    """The end of a stream in two files, which together never have more than ``most`` bytes."""

    def __init__(self, folder: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._part, self._clock = folder, most // 2, clock
        self._pending = bytearray()
        self._dropped = 0
        self._turn_at, self._written = -TURN_SECONDS, 0
        self._file: int | None = None

    @property
    def wait(self) -> float | None:
        """Seconds until pending output may be written; None when there is none."""
        if not self._pending:
            return None
        return max(0.0, self._turn_at + TURN_SECONDS - self._clock()) if self._written >= TURN_BYTES else 0.0

    def add(self, data: bytes) -> None:
        """Take new output; it is written at once while there is little of it."""
        self._pending += data
        excess = len(self._pending) - min(TURN_BYTES, self._part // 2)
        if excess > 0:
            self._dropped += excess
            del self._pending[:excess]
        if self.wait == 0.0:
            self.write()

    def write(self) -> None:
        """Write the pending output; if that fails, its end is kept for the next turn."""
        if self._clock() - self._turn_at >= TURN_SECONDS:
            self._turn_at, self._written = self._clock(), 0
        try:
            if not self._pending or _free(self._folder) < SPARE_BYTES:
                self._written = TURN_BYTES  # the next turn tries again
                return
            if self._dropped:
                self._append(b"\n[%d bytes are left out here]\n" % self._dropped)
                self._dropped = 0
            self._append(self._pending)
            self._written += len(self._pending)
            self._pending.clear()
        except OSError:  # the disk is full, or the folder is being removed
            self._written = TURN_BYTES
            self._close()

    def _append(self, data: bytes | bytearray) -> None:
        file = self._open_file()
        if os.fstat(file).st_size + len(data) > self._part:
            file = self._rotate()
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]

    def _open_file(self) -> int:
        if self._file is None:
            self._file = os.open(f"{self._folder}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self._file

    def _rotate(self) -> int:
        """Return a new file; the older part of the log is deleted."""
        os.rename(f"{self._folder}/log", f"{self._folder}/log.1")
        self._close()
        return self._open_file()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _free(folder: str) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class KeptProcess:
    """The replica's process, whose output comes through a pipe."""

    def __init__(self, command: list[str]) -> None:
        self.output, write_end = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.output, False)
        keeper = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            _become(command, write_end, keeper)
        os.close(write_end)
        self.status: int | None = None
        """Exit status in the form of ``waitpid``; None while it runs."""

    def reap(self) -> None:
        """Reap ended children: the replica, and orphans that became children of this process."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.pid:
                    self.status = status

    def read(self) -> bytes | None:
        """Return new output; None when there is none now, and empty when the pipe has no writer left."""
        try:
            return os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return None


def _become(command: list[str], output: int, keeper: int) -> None:
    """Turn the forked process into the replica, which is killed when its keeper ends."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:  # otherwise the keeper ended before prctl
            os.setsid()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.execv(command[0], command)  # noqa: S606
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def kept(replica: KeptProcess, log: Log, wakeup: int) -> None:
    """Keep the log until the replica has ended."""
    poll = select.poll()
    poll.register(wakeup, select.POLLIN)
    poll.register(replica.output, select.POLLIN)
    while replica.status is None:
        wait = log.wait
        for file, _ in poll.poll(None if wait is None else wait * 1000):
            if file == wakeup:
                with suppress(BlockingIOError):
                    os.read(wakeup, 4096)
            elif data := replica.read():
                log.add(data)
            elif data is not None:  # every writer has closed it
                poll.unregister(replica.output)
        replica.reap()
        if log.wait == 0.0:
            log.write()


def end_family(replica: KeptProcess) -> None:
    """Kill and reap every descendant of this process until there is none, for at most ``FAMILY_SECONDS``."""
    deadline = time.monotonic() + FAMILY_SECONDS
    while (family := _descendants()) and time.monotonic() < deadline:
        for pid in family:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        replica.reap()
    replica.reap()  # those that died after the last turn


def _descendants() -> list[int]:
    """Return the process ids of all descendants that are not zombies."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(name))
    family = [os.getpid()]
    for pid in family:  # which grows by the children of each process
        family += children.get(pid, [])
    return family[1:]


def drain(replica: KeptProcess, log: Log) -> None:
    """Keep the replica's last output."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (data := replica.read()) and time.monotonic() < deadline:
        log.add(data)
    log.write()


def end_like(status: int) -> None:
    """End this process as the process with that status ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # this process did not fail: no core dump
        with suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def main() -> None:
    """Run a command and write its process id to a descriptor.

    Folder, size of the log, descriptor and command are read from standard input, separated by NUL bytes: only the
    replica itself may have a command line that names it.
    """
    folder, most, pid_pipe, *command = _input().split("\0")
    wakeup, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(int(pid_pipe), False)
    replica = KeptProcess(command)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(replica))
    with suppress(OSError):  # the launcher is gone
        os.write(int(pid_pipe), str(replica.pid).encode())
    os.close(int(pid_pipe))
    log = Log(folder, int(most))
    kept(replica, log, wakeup)
    end_family(replica)
    drain(replica, log)
    assert replica.status is not None  # noqa: S101
    end_like(replica.status)


def _input() -> str:
    """Read all of standard input, then replace it by /dev/null."""
    with open(0, "rb", closefd=False) as file:
        text = os.fsdecode(file.read())
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    return text


def _pass_on(replica: KeptProcess) -> None:
    """Forward SIGTERM to the replica, which decides how to end."""
    try:
        os.kill(replica.pid, signal.SIGTERM)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


if __name__ == "__main__":
    main()
