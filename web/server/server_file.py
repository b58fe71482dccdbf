"""The file in a server's home that names the running server, so that command lines find this one and no other.

The file contains the address, the process id and the start time of the process. Process ids are reused; together with
the start time they are unique. A killed server leaves its file, which then names no living process.
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
CLOCK_TOLERANCE_SECONDS: Final = 2.0
"""Seconds by which two start times of one process may differ after the system's clock was adjusted."""


@dataclass(frozen=True)
class RunningServer:
    """A server process on this machine, as the file describes it."""

    url: str
    port: int
    pid: int
    started: float
    """Start time of the process as Unix time."""

    def listens(self) -> bool:
        """Return whether the listening socket of the port belongs to the server's process or a child."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return any(_listens(member, self.port) for member in (process, *process.children(recursive=True)))
        return False


@contextmanager
def announced(home: Path, url: str, port: int) -> Iterator[None]:
    """Publish this process's address in the home until the block ends. An unwritable home is ignored.

    Command lines find the first server of a home: a second one leaves the file unchanged.
    """
    file, mine = home / NAME, RunningServer(url, port, os.getpid(), psutil.Process().create_time())
    if running(home) is None:
        with suppress(OSError):
            _write(file, json.dumps(asdict(mine)))

    def withdraw() -> None:
        if read(home) == mine:  # another server may have started since
            file.unlink(missing_ok=True)

    with _before_default(signal.SIGTERM, withdraw):
        try:
            yield
        finally:
            withdraw()


@contextmanager
def _before_default(number: signal.Signals, work: Callable[[], None]) -> Iterator[None]:
    """Run ``work`` before a signal's default action ends this process: uvicorn re-raises the signal that stopped it."""
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
    """Return the running server of this home, or None."""
    server = read(home)
    if server is None:
        return None
    try:
        started = psutil.Process(server.pid).create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None
    return server if abs(started - server.started) < CLOCK_TOLERANCE_SECONDS else None


def read(home: Path) -> RunningServer | None:
    """Return the server that the file names, running or not; None if other users can write the file."""
    try:
        with (home / NAME).open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o022:
                return None
            entry = json.loads(file.read())
        return RunningServer(str(entry["url"]), int(entry["port"]), int(entry["pid"]), float(entry["started"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(file: Path, text: str) -> None:
    """Write the file atomically, readable by its owner only."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(f"{NAME}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text + "\n")
    new.replace(file)


def _listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            for connection in process.net_connections(kind="tcp")
        )
    return False
