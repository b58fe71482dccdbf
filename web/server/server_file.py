"""Where is the running server? A file in its home says so, for command lines that are to find it and no other one.

The file holds the address, and which process began to serve there. A process number is used again some day; with the
time at which its process began it is not. A killed server leaves its file, which then names no process.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

NAME: Final = "server.json"
SECONDS: Final = 2.0
"""Difference of two start times of one process, where the system's clock was set meanwhile."""


@dataclass(frozen=True)
class RunningServer:
    """A server that runs on this machine."""

    url: str
    port: int
    pid: int
    started: float
    """Unix time."""

    def listens(self) -> bool:
        """Whether the socket that takes connections on the port belongs to this server: to its process or a child."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return any(_listens(one, self.port) for one in (process, *process.children(recursive=True)))
        return False


@contextmanager
def announced(home: Path, url: str, port: int) -> Iterator[None]:
    """Says in the home where this process serves, until the block ends. A home that cannot be written stays silent.

    The first server of a home is the one that command lines find: a second one leaves its file alone.
    """
    file, mine = home / NAME, RunningServer(url, port, os.getpid(), psutil.Process().create_time())
    if running(home) is None:
        with suppress(OSError):
            _write(file, json.dumps(asdict(mine)))

    def withdraw() -> None:
        if read(home) == mine:  # another one may have begun since
            file.unlink(missing_ok=True)

    with _before_default(signal.SIGTERM, withdraw):
        try:
            yield
        finally:
            withdraw()


@contextmanager
def _before_default(number: signal.Signals, work: Callable[[], None]) -> Iterator[None]:
    """Does some work before a signal ends this process by default: uvicorn raises what stopped it once more."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return

    def end(*_: object) -> None:
        work()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(number, end)
    try:
        yield
    finally:
        if signal.getsignal(number) is end:
            signal.signal(number, signal.SIG_DFL)


def running(home: Path) -> RunningServer | None:
    """The server of this home; None where none runs."""
    found = read(home)
    if found is None:
        return None
    try:
        began = psutil.Process(found.pid).create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None
    return found if abs(began - found.started) < SECONDS else None


def read(home: Path) -> RunningServer | None:
    """What the file says, whether that server runs or not; nothing where others may have written it."""
    try:
        with (home / NAME).open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o022:
                return None
            told = json.loads(file.read())
        return RunningServer(str(told["url"]), int(told["port"]), int(told["pid"]), float(told["started"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(file: Path, text: str) -> None:
    """Whole or not at all, and for its owner alone."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(f"{NAME}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text + "\n")
    new.replace(file)


def _listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):
        return any(
            one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
            for one in process.net_connections(kind="tcp")
        )
    return False
