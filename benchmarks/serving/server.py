"""Starts a contender's server, measures its processes, and stops them all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import psutil

from benchmarks.serving.contenders import Contender
from tests.support.servers import ROOT, free_port

START_TIMEOUT_SECONDS: Final = 90.0
STOP_TIMEOUT_SECONDS: Final = 15.0
PROBE_TIMEOUT_SECONDS: Final = 20.0
PROBE_INTERVAL_SECONDS: Final = 0.02
LOG_TAIL_CHARACTERS: Final = 1500
"""Characters of a log's end in an error."""
MARK: Final = "ATELIER_BENCHMARK"
"""Environment variable by which all processes of a server are found, even after their parent has changed."""


class NotStarted(Exception):
    """A server did not answer; the message has the reason and the end of its log."""


@dataclass(frozen=True)
class Probe:
    """The request that is repeated until a server answers."""

    route: str
    body: bytes
    content_type: str

    def status(self, port: int) -> int | None:
        """Send the request and return the answer's status; None without an answer."""
        connection = HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_SECONDS)
        try:
            connection.request("POST", self.route, self.body, {"Content-Type": self.content_type})
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return answer.status


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    url: str
    pid: int
    mark: str
    start_seconds: float

    def family(self) -> list[psutil.Process]:
        """Return all its processes."""
        return family(self.pid, self.mark)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all its processes so far, including ended children that were waited for."""
        return sum(_cpu_seconds(process) for process in self.family())

    def megabytes(self) -> float:
        """Return the memory in MB (PSS: shared pages count once)."""
        return sum(_pss(process) for process in self.family()) / 1e6


@contextmanager
def serve(contender: Contender, environment: Mapping[str, str], probe: Probe) -> Iterator[RunningServer]:
    """Serve until the block ends; the log is in the environment's ``TMPDIR``. Raises NotStarted."""
    port, mark = free_port(), uuid.uuid4().hex
    variables = {**os.environ, **environment, **contender.environment, MARK: mark}
    log = Path(variables["TMPDIR"]) / f"{contender.name}.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            contender.command_on(port),
            cwd=ROOT,
            env=variables,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_answer(process, port, probe, log)
        yield RunningServer(f"http://127.0.0.1:{port}", process.pid, mark, time.perf_counter() - began)
    finally:
        stop(process, mark)


def stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Stop a server by a signal, and kill its remaining processes. A second Ctrl-C does not interrupt this."""
    with _uninterrupted():
        _stop(process, mark)


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    known = family(process.pid, mark)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_SECONDS)
    remaining = {*known, *family(process.pid, mark)}
    for member in remaining:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(remaining, timeout=STOP_TIMEOUT_SECONDS)
    process.wait(STOP_TIMEOUT_SECONDS)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def family(pid: int, mark: str) -> list[psutil.Process]:
    """Return the process, its descendants, and every process with the mark."""
    members: set[psutil.Process] = {candidate for candidate in psutil.process_iter() if _marked(candidate, mark)}
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        members |= {parent, *parent.children(recursive=True)}
    return list(members)


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(used.user + used.system + used.children_user + used.children_system)


def _pss(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss)
    except psutil.Error:
        return 0.0


def _await_answer(process: subprocess.Popen[bytes], port: int, probe: Probe, log: Path) -> None:
    deadline, status = time.perf_counter() + START_TIMEOUT_SECONDS, 0
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise NotStarted(f"it ended with status {process.returncode}: {_tail(log)}")
        status = probe.status(port) or status
        if status == 200:
            return
        time.sleep(PROBE_INTERVAL_SECONDS)
    raise NotStarted(f"no good answer in {START_TIMEOUT_SECONDS:.0f} s (status {status or 'none'}): {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].strip() or "it wrote nothing"
