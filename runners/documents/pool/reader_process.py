"""The reading process of one seat: started, fed, and replaced by the seat's thread."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from runners.documents.document import Document
from runners.documents.pool import protocol
from runners.documents.pool.job import ReadJob
from runners.documents.pool.turns import CLOSED
from runners.errors import InvalidDocument, ModelUnavailable, RunnerError

logger = logging.getLogger("bentoml.atelier")

WORN: Final = 768 * 1024 * 1024
"""Bytes of memory above which a process is replaced: OCR takes some 250 MB of them."""
NOT_STARTED: Final = "the reading process does not start; try again"
KILLED: Final = "the reading process was stopped; try again"
TOO_COSTLY: Final = "the document takes more computing than its size and its pages allow"

FROM_OUTSIDE: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM})
"""Signals that no document causes: they come from an operator, or from the kernel when memory runs out."""

DYING_SECONDS: Final = 1.0
"""Seconds that a process may take to end after it closed its pipe."""

PASSED: Final = frozenset(
    ["HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "TEMP", "TMP", "TMPDIR", "TZ"]
)
"""Environment variables that a reading process gets, besides ``LC_*``: parsers must not see tokens and keys."""

OURS: Final = str(Path(__file__).parents[3])
"""Folder of this package: ``bentoml.load`` removes a Bento's files from ``sys.path`` after importing the service."""


class ReaderProcess:
    """Owned by the thread that starts its processes, as they end with it. Other threads may only call ``kill``."""

    def __init__(self, ocr: str, threads: int = 1) -> None:
        self._ocr, self._threads = ocr, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def is_cold(self) -> bool:
        """Whether the next document would wait for a process to start."""
        return self._process is None and not self._is_closed

    def do(self, job: ReadJob) -> bool:
        """Finish a job with a result or an error; return False if it was set aside. Never raises."""
        try:
            job.give(self._read(job))
        except RunnerError as error:
            if job.is_set_aside and not self._is_closed:
                return False
            job.fail(error)
        except Exception as error:  # no process, memory or threads: the machine is at fault, not the document
            logger.error("cannot start a process to read a document of %d bytes: %r", job.size, error)
            self.leave()
            job.fail(ModelUnavailable(NOT_STARTED))
        return True

    def kill(self) -> None:
        """Kill the process for good."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def leave(self) -> None:
        """Kill the process and wait for its end; the next job starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _ended(process)

    def _read(self, job: ReadJob) -> Document:
        process = self._living()
        if not job.begins(process):
            raise InvalidDocument(protocol.CANNOT_BE_READ)
        is_spent = True
        try:
            answer, images = _ask(process, job)
            is_spent = answer.get("memory", 0) > WORN
            return protocol.document(answer, images)
        except RunnerError:
            raise
        except Exception as error:  # the process has died, or has sent an invalid message
            raise self._cause(process, job, error) from None
        finally:
            if job.ends() or is_spent:
                self.leave()

    def _cause(self, process: subprocess.Popen[bytes], job: ReadJob, error: Exception) -> RunnerError:
        """Return the error for a process that died or sent an invalid message."""
        if self._is_closed:
            return ModelUnavailable(CLOSED)
        if job.is_set_aside:
            return ModelUnavailable(KILLED)
        ended = _signal_of(process) if isinstance(error, EOFError | OSError) else 0
        logger.warning("a reading process ended with a document of %d bytes: %r, signal %s", job.size, error, ended)
        if ended in FROM_OUTSIDE:
            return ModelUnavailable(KILLED)
        return InvalidDocument(TOO_COSTLY if ended == signal.SIGXCPU else protocol.CANNOT_BE_READ)

    def _living(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.leave()
        with self._lock:
            if self._is_closed:
                raise ModelUnavailable(CLOSED)
            self._process = self._process or _started(self._ocr, self._threads)
            return self._process


def _started(ocr: str, threads: int) -> subprocess.Popen[bytes]:
    """Start a process; its standard error is dropped, as libraries would log contents of hostile files."""
    command = [sys.executable, "-B", "-m", "runners.documents.pool.reader_main", str(os.getpid()), ocr, str(threads)]
    return subprocess.Popen(  # noqa: S603 - our own module; no caller chooses the class
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _environment() -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if name in PASSED or name.startswith("LC_")}
    return {**passed, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, OURS]))}


def _ask(process: subprocess.Popen[bytes], job: ReadJob) -> tuple[dict[str, Any], list[bytes]]:
    protocol.write(cast("BinaryIO", process.stdin), job.request, [job.data])
    answer, images = protocol.read(cast("BinaryIO", process.stdout))
    if answer.get("cause"):
        logger.info("a document of %d bytes refused: %s", job.size, answer["cause"])
    return answer, images


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # flushing to a dead process fails
            cast("BinaryIO", pipe).close()
    process.wait()


def _signal_of(process: subprocess.Popen[bytes]) -> int:
    """Return the signal that killed a process; 0 where it lives, or exited by itself."""
    try:
        return max(0, -process.wait(DYING_SECONDS))
    except subprocess.TimeoutExpired:
        return 0
