"""Python programs that start with their imports done, as forks of a process that has made them.

A server's imports cost 2 s of CPU, which is most of a short test. A fork has its own memory, environment, streams and
process id. Where that is not possible (elsewhere than on Linux, or with a variable that the interpreter reads when it
starts), and in all that judges speed, programs start as usual.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from tests.support.running.figures import JUDGED
from tests.support.servers import ROOT

MODULES: Final = {
    "server": (
        *("management.platform", "management.api.application", "management.store.migrate"),
        *("web.edge.middleware", "web.server.uvicorn_protocol", "uvicorn.protocols.http.auto"),
    ),
    "bentoml": ("bentoml_cli.cli", "bentoml._internal.cloud.client", "bentoml._internal.bento.build_config"),
}
"""What each kind of program imports."""
READ_AT_START: Final = ("PYTHON", "LD_", "BENTOML_CONFIG", "MALLOC_")
"""How names of variables begin that a process reads once."""
SETTINGS: Final = ("web.settings", "management.configuration", "runners.settings")
"""Modules that keep what they read of the environment: no import may make them read it."""
MOST_BYTES: Final = 190_000
"""Bytes of a message between both processes, at most."""
START: Final = "from tests.support.running import preloaded; preloaded.fork_on_request(int(__import__('sys').argv[1]))"

enabled = False
"""Whether programs are forked; the tests' configuration says so, benchmarks do not."""


class Forked:
    """A forked program, with what tests use of ``subprocess.Popen``."""

    def __init__(self, pid: int, status: int) -> None:
        """``status`` is a pipe from which its exit status can be read once it has ended."""
        self.pid = pid
        self.returncode: int | None = None
        self._status = open(status, "rb", buffering=0)  # noqa: SIM115

    def poll(self) -> int | None:
        """Return the exit status of a program that has ended; a signal's number is negative."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises subprocess.TimeoutExpired."""
        status = self._await(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def _await(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            told = self._status.read(16)
            self._status.close()
            if not told:
                raise RuntimeError("the process that forks has ended")
            self.returncode = int(told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Forked


@dataclass(frozen=True)
class Command:
    """A Python program: ``-c`` and its code, or ``-m`` and a module, and its arguments."""

    kind: str
    option: str
    program: str
    arguments: Sequence[str] = ()
    python: str = sys.executable

    @property
    def line(self) -> list[str]:
        """The command that starts it as usual."""
        return [self.python, self.option, self.program, *self.arguments]


@dataclass(frozen=True)
class Ended:
    """What a program printed, and its exit status."""

    text: str
    status: int


def start(
    command: Command, *, cwd: Path, env: Mapping[str, str], output: IO[Any], stdin: IO[Any] | None = None
) -> Process:
    """Start a program whose output and errors go to a file, and whose input is empty unless it is given.

    A fork is a process like any other to audit hooks.
    """
    if not (enabled and command.python == sys.executable and _may_fork(env)):
        return subprocess.Popen(
            command.line, cwd=cwd, env=dict(env), stdin=stdin or subprocess.DEVNULL, stdout=output, stderr=output
        )
    sys.audit("subprocess.Popen", command.python, command.line, cwd, None)
    with open(os.devnull) as nothing:
        given = (stdin or nothing).fileno()
        return _forks(command.kind).start(command, cwd, env, (given, output.fileno(), output.fileno()))


def run(
    command: Command, *, cwd: Path, env: Mapping[str, str], given: str = "", seconds: float = 120, check: bool = True
) -> Ended:
    """Run a program to its end, with that input.

    Raises subprocess.TimeoutExpired, and with ``check`` RuntimeError when its exit status is not 0.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as stdin:
        stdin.write(given.encode())
        stdin.seek(0)
        process = start(command, cwd=cwd, env=env, output=output, stdin=stdin)
        try:
            status = process.wait(seconds)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        ended = Ended(output.read().decode(errors="replace"), status)
    if check and status:
        raise RuntimeError(f"exit status {status}: {ended.text}")
    return ended


def _may_fork(env: Mapping[str, str]) -> bool:
    own = {name: value for name, value in env.items() if name.startswith(READ_AT_START)}
    ours = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_START)}
    return sys.platform == "linux" and own == ours and not JUDGED


@cache
def _forks(kind: str) -> _Forks:
    return _Forks(kind)


class _Forks:
    """The process that has made the imports of one kind of programs, until this process ends."""

    def __init__(self, kind: str) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno()), kind], cwd=ROOT, pass_fds=[theirs.fileno()]
            )
        atexit.register(self._close)

    def start(self, command: Command, cwd: Path, env: Mapping[str, str], streams: Sequence[int]) -> Forked:
        """Fork."""
        wanted = {"option": command.option, "program": command.program, "arguments": [*command.arguments]}
        message = json.dumps({**wanted, "cwd": str(cwd), "env": dict(env)}).encode()
        if len(message) > MOST_BYTES:
            raise ValueError("the environment is too long")
        reading, writing = os.pipe()
        with self._lock:
            socket.send_fds(self._ours, [message], [*streams, writing])
            os.close(writing)
            answer = self._ours.recv(MOST_BYTES)
        if not answer:
            os.close(reading)
            raise RuntimeError("the process that forks has ended")
        return Forked(int(answer), reading)

    def _close(self) -> None:
        self._ours.close()
        self._process.wait()


def fork_on_request(descriptor: int) -> None:
    """Make the imports, and fork until the tests' process has ended; returns in each fork, when its program has."""
    for module in MODULES[sys.argv[2]]:
        importlib.import_module(module)
    for module in SETTINGS:
        if module in sys.modules and sys.modules[module].settings.cache_info().currsize:
            raise RuntimeError(f"an import has read the environment: {module}")
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what a terminal sends is for the tests
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted)
    statuses: dict[int, int] = {}
    with socket.socket(fileno=descriptor) as connection:
        while True:
            ready, _, _ = select.select([connection.fileno(), ended], [], [])
            if ended in ready:
                os.read(ended, 4096)
                _tell_ends(statuses)
            if connection.fileno() not in ready:
                continue
            message, given, _, _ = socket.recv_fds(connection, MOST_BYTES, 4)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                break
            *streams, statuses[pid] = given
            for stream in streams:
                os.close(stream)
            connection.send(str(pid).encode())
    signal.set_wakeup_fd(-1)
    for number in (ended, noted, given[-1], *statuses.values()):
        os.close(number)
    _run(json.loads(message), given[:-1])


def _tell_ends(statuses: dict[int, int]) -> None:
    """Write the exit status of each fork that has ended into its pipe."""
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        pipe = statuses.pop(pid)
        with suppress(BrokenPipeError):
            os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(pipe)


def _run(wanted: dict[str, Any], streams: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in set(streams) - {0, 1, 2}:
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv[:] = ["-c", *wanted["arguments"]]
    if wanted["option"] == "-m":
        runpy.run_module(wanted["program"], run_name="__main__", alter_sys=True)
    else:
        exec(wanted["program"], {"__name__": "__main__"})
