"""Makes one environment, in a process of its own that ends with the control plane: it holds the environment's lock.

It is run by path with the standard library alone. Its standard input has one line of JSON, the fields of ``Task``, and
stays open for as long as the control plane lives: at its end, all that runs is killed and what was made is removed. Its
standard output has one line of JSON, an outcome.

    TARGET.making-*   what is being made; it becomes TARGET by one rename, and is ready from then on
    TARGET.log        what the steps wrote, without passwords
    TARGET.failure    the outcome of the last attempt, if it failed
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FACTS: Final = "atelier.json"
"""File in an environment with what is known of it. It is written last, before the rename."""
LIFELINE: Final = 0
"""Descriptor that ends with the control plane."""
PASSWORDS: Final = re.compile(r"(\w+://)[^\s/@]+@")
"""User and password in a URL."""
TEMPORARY: Final = re.compile(
    r"error sending request|Failed to fetch|timed out|[Cc]onnection (refused|reset)|dns error|Network unreachable|"
    r"HTTP status (server error|client error \((401|403|407|408|429))|No space left|Disk quota|os error (28|122)"
)
"""Words of a failure after which another attempt may succeed."""
LONGEST_REASON: Final = 300
"""Characters of the longest reason."""
MOST_LINES: Final = 5000
"""Last lines of a step in which its error is looked for."""
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Task:
    """What to make."""

    target: str
    """Path of the environment."""
    cwd: str
    """Folder in which the steps run."""
    steps: list[list[str]]
    """Commands; ``{new}`` stands for the folder that is being made. The last one lists what is installed."""
    words: list[str]
    """What each step does, for the reason of a failure."""
    facts: dict[str, Any]
    """Facts to keep with the environment."""
    seconds: float
    """Seconds that all steps together may take."""
    log_bytes: int
    """Bytes of the log's beginning and end that are kept."""
    hidden: dict[str, str]
    """Paths of this machine, and what the log has in their place."""


class MakingFailed(Exception):
    """The environment cannot be made; the text says why."""


class MakingEnded(Exception):
    """The control plane has ended."""


class BoundedLog:
    """The log: the first half of the bytes is never overwritten, the second half is the end."""

    def __init__(self, file: Path, most: int) -> None:
        self._file, self._half = file, most // 2
        self._first, self._last = b"", b""
        file.write_bytes(b"")

    def add(self, piece: bytes) -> None:
        """Append, and write the file unless the disk is full."""
        room = self._half - len(self._first)
        self._first += piece[:room]
        self._last = (self._last + piece[room:])[-self._half :] if room < len(piece) else self._last
        with suppress(OSError):
            if self._last:
                self._file.write_bytes(self._first + b"\n...\n" + self._last)
            else:
                with self._file.open("ab") as file:
                    file.write(piece)


def main() -> None:
    """Make the environment of the task on standard input, and write the outcome to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal ends the control plane, and so this
    task = Task(**json.loads(_line()))
    target = Path(task.target)
    began = time.monotonic()
    for left in target.parent.glob(f"{target.name}.making-*"):  # of a killed process: this one holds the lock
        shutil.rmtree(left, ignore_errors=True)
    try:
        outcome = _made(task, target, began)
    except MakingEnded:
        return
    except MakingFailed as failure:
        outcome = fail(target, str(failure))
    except OSError as error:
        outcome = fail(target, os.strerror(error.errno) if error.errno else "it cannot be written")
    sys.stdout.write(json.dumps(outcome))


def _made(task: Task, target: Path, began: float) -> dict[str, Any]:
    log = BoundedLog(target.with_name(target.name + ".log"), task.log_bytes)
    new = Path(tempfile.mkdtemp(prefix=f"{target.name}.making-", dir=target.parent))
    try:
        packages: list[str] = []
        for words, step in zip(task.words, task.steps, strict=True):
            lines = _run(words, [part.replace("{new}", str(new / "env")) for part in step], task, log, began)
            packages = [line for line in lines if "==" in line or " @ " in line]
        seconds = round(time.monotonic() - began, 3)
        facts = {**task.facts, "packages": packages, "seconds": seconds, "bytes": _size(new)}
        (new / "env" / FACTS).write_text(json.dumps(facts))
        os.sync()  # what a loss of power leaves behind must not look ready
        shutil.rmtree(target, ignore_errors=True)  # its Python was removed
        (new / "env").rename(target)
        target.with_name(target.name + ".failure").unlink(missing_ok=True)
        return {"ready": True}
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _run(words: str, command: list[str], task: Task, log: BoundedLog, began: float) -> list[str]:
    """Run a step to its end, and return the lines that it wrote. Raises MakingFailed, and MakingEnded."""
    log.add(f"$ {words}\n".encode())
    step = subprocess.Popen(  # noqa: S603
        command,
        cwd=task.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has no threads
    )
    try:
        lines = _follow(step, log, began + task.seconds, task.hidden)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(step.pid, signal.SIGKILL)
        step.wait()
        raise
    if step.wait():
        raise MakingFailed(_reason(words, lines))
    return lines


def _follow(step: subprocess.Popen[bytes], log: BoundedLog, deadline: float, hidden: dict[str, str]) -> list[str]:
    """Copy what the step writes into the log, line by line, and return its last lines at the end of its output."""
    assert step.stdout is not None  # noqa: S101
    output, rest, lines = step.stdout.fileno(), b"", deque[str](maxlen=MOST_LINES)
    while True:
        ready, _, _ = select.select([output, LIFELINE], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise MakingFailed("it was not made within the time that it has: timed out")
        if LIFELINE in ready and not os.read(LIFELINE, 1):
            raise MakingEnded
        if output not in ready:
            continue
        piece = os.read(output, 65536)
        whole, _, rest = (rest + piece if piece else rest + b"\n").rpartition(b"\n")  # passwords are found in lines
        masked = masked_text(whole.decode(errors="replace"), hidden)
        if masked.strip():
            log.add(masked.encode() + b"\n")
            lines.extend(line for line in masked.splitlines() if line.strip())
        if not piece:
            return list(lines)


def masked_text(text: str, hidden: Mapping[str, str]) -> str:
    """Return the text without passwords in URLs, and with other words for the hidden paths."""
    masked = PASSWORDS.sub(r"\1****@", text)
    for path, name in hidden.items():
        masked = masked.replace(path, name)
    return masked


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, in whatever way. It runs between fork and exec."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _reason(words: str, lines: list[str]) -> str:
    """Return the error in what a step wrote; its last lines without an error."""
    start = next((number for number, line in enumerate(lines) if re.match(r"\s*(error|[\w.]*Error)\b", line)), -1)
    told = " ".join(line.strip() for line in (lines[start:] if start >= 0 else lines[-2:]))
    return f"{words} failed: {told}"


def fail(target: Path, reason: str) -> dict[str, Any]:
    """Keep the failure, so that other control planes know of it, and return it. A long reason is cut."""
    temporary = bool(TEMPORARY.search(reason))
    outcome = {"ready": False, "reason": reason[:LONGEST_REASON], "temporary": temporary, "at": time.time()}
    file = target.with_name(target.name + ".failure")
    with suppress(OSError):
        new = file.with_suffix(".new")
        new.write_text(json.dumps(outcome))
        new.replace(file)
    return outcome


def _size(folder: Path) -> int:
    """Return the bytes on disk of a folder's files; a file with several names counts once."""
    blocks = {}
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(place, name))
            blocks[status.st_ino] = status.st_blocks * 512
    return sum(blocks.values())


def _line() -> bytes:
    """Return the first line of standard input, unbuffered: its end is waited for later."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(LIFELINE, 65536)
        if not piece:
            sys.exit(errno.EPIPE)
        line += piece
    return line


if __name__ == "__main__":
    main()
