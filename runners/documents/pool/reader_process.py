"""One reading process after another, and the one thread that talks to them."""

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
"""Bytes of memory with which a process is not given another document: OCR takes some 250 MB of them."""
NOT_STARTED: Final = "the reading process does not start; try again"
KILLED: Final = "the reading process was stopped; try again"
TOO_COSTLY: Final = "the document takes more computing than its size and its pages allow"

FROM_OUTSIDE: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM})
"""What no document does to the process that reads it: an operator does, or a machine without memory."""

DYING_SECONDS: Final = 1.0
"""How long a process that closed its pipe may take to be gone."""

PASSED: Final = frozenset(
    ["HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "TEMP", "TMP", "TMPDIR", "TZ"]
)
"""What a reading process is given of the environment, besides ``LC_*``: tokens and keys are nothing for parsers."""

OURS: Final = str(Path(__file__).parents[3])
"""Where this package lies: ``bentoml.load`` takes a Bento's files off ``sys.path`` once the service is imported."""


class ReaderProcess:
    """Belongs to the thread that starts its processes: they would not outlive it. Only ``kill`` is for others."""

    def __init__(self, ocr: str, threads: int = 1) -> None:
        self._ocr, self._threads = ocr, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def is_cold(self) -> bool:
        """Whether the next document would have to wait for a process."""
        return self._process is None and not self._is_closed

    def do(self, job: ReadJob) -> bool:
        """Answers a job, whatever happens: the thread has others to do. False where it was set aside instead."""
        try:
            job.give(self._read(job))
        except RunnerError as error:
            if job.is_set_aside and not self._is_closed:
                return False
            job.fail(error)
        except Exception as error:  # no process, no memory, no threads: of the machine, and not of the document
            logger.error("no process reads a document of %d bytes: %r", job.size, error)
            self.leave()
            job.fail(ModelUnavailable(NOT_STARTED))
        return True

    def kill(self) -> None:
        """Ends the process, and starts no other."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def leave(self) -> None:
        """Ends the process and waits until it is gone; another is started when there is a job for it."""
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
            said, images = _ask(process, job)
            is_spent = said.get("memory", 0) > WORN
            return protocol.document(said, images)
        except RunnerError:
            raise
        except Exception as error:  # the process has died, or says what makes no sense, in whatever way it likes
            raise self._cause(process, job, error) from None
        finally:
            if job.ends() or is_spent:
                self.leave()

    def _cause(self, process: subprocess.Popen[bytes], job: ReadJob, error: Exception) -> RunnerError:
        """Whose fault it is that the process died, or said what makes no sense."""
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
    """Its errors go nowhere: what libraries write of a hostile file is not for a log."""
    command = [sys.executable, "-B", "-m", "runners.documents.pool.reader_main", str(os.getpid()), ocr, str(threads)]
    return subprocess.Popen(  # noqa: S603 - our own module, and a place that no caller names
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _environment() -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if name in PASSED or name.startswith("LC_")}
    return {**passed, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, OURS]))}


def _ask(process: subprocess.Popen[bytes], job: ReadJob) -> tuple[dict[str, Any], list[bytes]]:
    protocol.write(cast("BinaryIO", process.stdin), job.asked, [job.data])
    said, images = protocol.read(cast("BinaryIO", process.stdout))
    if said.get("cause"):
        logger.info("a document of %d bytes refused: %s", job.size, said["cause"])
    return said, images


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what was still to be written has nobody to read it
            cast("BinaryIO", pipe).close()
    process.wait()


def _signal_of(process: subprocess.Popen[bytes]) -> int:
    """The signal that a process died of; 0 where it lives, or ended by itself."""
    try:
        return max(0, -process.wait(DYING_SECONDS))
    except subprocess.TimeoutExpired:
        return 0
