"""BentoML's own program, run as its user runs it: a process with a BentoML home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.management_servers import KEY, Management
from tests.support.running.preloaded import Command, Ended, run
from tests.support.servers import ROOT

BUILD = """
import bentoml, sys
with bentoml.models.create("lesson:1") as model:
    open(model.path_of("lesson.txt"), "w").write("Look twice.")
for source in sys.argv[1:]:
    bentoml.bentos.build_bentofile(source + "/bentofile.yaml", version="1.0.0", build_ctx=source)
"""
IN_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("bentoml", run_name="__main__", alter_sys=True)
"""
"""Runs the program so that its terminal controls it: what is typed there can interrupt it."""
CTRL_C = b"\x03"
MENU = "new codespace"
"""What its menu shows."""
SILENCE_SECONDS = 0.5
PROMPT_SECONDS = 20.0
"""Seconds in which an interrupted command ends: it waits for a thread that sends something every 5 s."""
SECONDS = 120
"""Seconds after which a command is taken for one that hangs."""


class Terminal:
    """A command in a terminal of its own, which is read all the time: the command never waits for its reader."""

    def __init__(self, running: subprocess.Popen[bytes], ours: int) -> None:
        self.running, self._ours = running, ours
        self.text = ""
        """All that it has written."""
        self._changed = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError):  # the command has closed its terminal
            while piece := os.read(self._ours, 65536):
                with self._changed:
                    self.text += piece.decode(errors="replace")
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def expect(self, words: str) -> None:
        """Wait until the command has written the words; empty words until it has ended."""
        self.press("", words, words)

    def press(self, key: str, shown: str, words: str) -> None:
        """Type the key whenever the command is silent after it has shown that, until it has written the words.

        A key that comes before a menu listens is lost. Empty words mean until the command has ended.
        """
        deadline = time.monotonic() + SECONDS
        with self._changed:
            while not (words in self.text if words else not self._reading.is_alive()):
                assert time.monotonic() < deadline, self.text
                assert not words or self._reading.is_alive(), self.text
                if not self._changed.wait(SILENCE_SECONDS) and key and shown in self.text:
                    os.write(self._ours, key.encode())

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit status of a command that ends soon after it."""
        os.write(self._ours, CTRL_C)
        return self.running.wait(PROMPT_SECONDS)

    def end(self) -> None:
        """End the command by force if it still runs."""
        self.running.kill()
        self.running.wait()
        self._reading.join(SECONDS)
        os.close(self._ours)


@dataclass(frozen=True)
class Program:
    """A user of ``bentoml`` with a home, and a Python that has BentoML."""

    home: Path
    url: str
    token: str = KEY
    python: str = sys.executable

    def run(self, *arguments: str, cwd: Path | None = None, given: str = "", check: bool = True) -> Ended:
        """Run ``bentoml`` with these arguments; with ``check``, its exit status must be 0."""
        command = Command("bentoml", "-m", "bentoml", arguments, python=self.python)
        return run(command, cwd=cwd or Path.cwd(), env=self.environment, given=given, seconds=SECONDS, check=check)

    def typed(self, *arguments: str, key: str, cwd: Path | None = None) -> Ended:
        """Run ``bentoml`` in a terminal of its own, and type the key whenever it is silent after its menu."""
        with self.terminal(*arguments, cwd=cwd) as terminal:
            terminal.press(key, MENU, "")
            return Ended(terminal.text, terminal.running.wait(SECONDS))

    @contextmanager
    def terminal(self, *arguments: str, cwd: Path | None = None) -> Iterator[Terminal]:
        """Run ``bentoml`` in a terminal of its own, which is ended by force at the end."""
        command = [self.python, "-c", IN_TERMINAL, *arguments]
        ours, theirs = os.openpty()
        with subprocess.Popen(
            command, cwd=cwd, env=self.environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        ) as running:
            os.close(theirs)
            terminal = Terminal(running, ours)
            try:
                yield terminal
            finally:
                terminal.end()

    def script(self, code: str) -> str:
        """Run Python code that uses BentoML, and return what it prints."""
        command = [self.python, "-W", "ignore", "-c", code]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a command."""
        login = {"BENTO_CLOUD_API_ENDPOINT": self.url, "BENTO_CLOUD_API_KEY": self.token}
        plain = {"NO_COLOR": "1", "COLUMNS": "200", "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(self.home)}
        return {**os.environ, **login, **plain}

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON, and return what it is; some print a table before it."""
        text = self.run(*arguments, "-o", "json").text
        return json.loads(text[text.index("[" if "list" in arguments else "{\n") :])

    def deployment(self, name: str) -> dict[str, Any]:
        """Return what ``bentoml deployment get`` tells."""
        told: dict[str, Any] = self.json("deployment", "get", name)
        return told

    def status(self, name: str) -> str:
        """Return a deployment's status in the program's words."""
        return str(self.deployment(name)["status"]["status"])


def logged_in(home: Path, server: Management, token: str = KEY, prefix: str = "") -> Program:
    """Return a user who has logged in to the server."""
    program = Program(home, server.url + prefix, token)
    program.run("cloud", "login")
    return program


def user_home(folder: Path) -> Path:
    """Build the Bentos ``echo`` and ``taught`` with its model, as their user has them."""
    bentos = ROOT / "tests" / "bentos"
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    run(Command("bentoml", "-c", BUILD, [str(bentos / "echo"), str(bentos / "taught")]), cwd=ROOT, env=environment)
    return folder
