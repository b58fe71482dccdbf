"""One reading process after another, and the one thread that talks to them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from runners.documents import wire
from runners.documents.document import Document
from runners.errors import InvalidDocument, ModelUnavailable, RunnerError

logger = logging.getLogger("bentoml.atelier")

WORN: Final = 768 * 1024 * 1024
"""Bytes of memory with which a process is not given another document: OCR takes some 250 MB of them."""
CLOSED: Final = "documents are no longer read here"
NOT_STARTED: Final = "the reading process does not start; try again"

PASSED: Final = frozenset(
    ["HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "TEMP", "TMP", "TMPDIR", "TZ"]
)
"""What a reading process is given of the environment, besides ``LC_*``: tokens and keys are nothing for parsers."""

OURS: Final = str(Path(__file__).parents[2])
"""Where this package lies: ``bentoml.load`` takes a Bento's files off ``sys.path`` once the service is imported."""


class Job:
    """A document to be read. ``stop`` may come from any thread and at any time."""

    def __init__(self, data: bytes, filename: str, as_pictures: bool = False, pictures_only: bool = False) -> None:
        self.data = data
        self.size = len(data)
        self.asked = {"filename": filename, "as_pictures": as_pictures, "pictures_only": pictures_only}
        self.answer: Future[Document] = Future()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """Kills the process that reads it, if one does: nothing goes on for it afterwards, and it keeps no bytes."""
        with self._lock:
            self._is_stopped, self.data = True, b""  # it may stand in a queue for long
            self.answer.cancel()
            if self._process is not None:
                self._process.kill()

    def begins(self, process: subprocess.Popen[bytes]) -> bool:
        """False where it was stopped before."""
        with self._lock:
            self._process = None if self._is_stopped else process
            return not self._is_stopped

    def ends(self) -> bool:
        """Whether it may have killed its process; from here on it will not, as that has other documents to read."""
        with self._lock:
            self._process = None
            return self._is_stopped


class Seat:
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

    def do(self, job: Job) -> None:
        """Answers a job, whatever happens: the thread has others to do."""
        if not job.answer.set_running_or_notify_cancel():
            return
        try:
            document = self._read(job)
        except RunnerError as error:
            job.answer.set_exception(error)
        except Exception as error:  # no process, no memory, no threads: of the machine, and not of the document
            logger.error("no process reads a document of %d bytes: %r", job.size, error)
            self.leave()
            job.answer.set_exception(ModelUnavailable(NOT_STARTED))
        else:
            job.answer.set_result(document)

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

    def _read(self, job: Job) -> Document:
        process = self._living()
        if not job.begins(process):
            raise InvalidDocument(wire.CANNOT_BE_READ)
        is_spent = True
        try:
            said, images = _ask(process, job)
            is_spent = said.get("memory", 0) > WORN
            return wire.document(said, images)
        except RunnerError:
            raise
        except Exception as error:  # the process has died, or says what makes no sense, in whatever way it likes
            logger.warning("a reading process ended with a document of %d bytes: %r", job.size, error)
            raise ModelUnavailable(CLOSED) if self._is_closed else InvalidDocument(wire.CANNOT_BE_READ) from None
        finally:
            if job.ends() or is_spent:
                self.leave()

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
    command = [sys.executable, "-B", "-m", "runners.documents.process", str(os.getpid()), ocr, str(threads)]
    return subprocess.Popen(  # noqa: S603 - our own module, and a place that no caller names
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _environment() -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if name in PASSED or name.startswith("LC_")}
    return {**passed, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, OURS]))}


def _ask(process: subprocess.Popen[bytes], job: Job) -> tuple[dict[str, Any], list[bytes]]:
    wire.write(cast("BinaryIO", process.stdin), job.asked, [job.data])
    said, images = wire.read(cast("BinaryIO", process.stdout))
    if said.get("cause"):
        logger.info("a document of %d bytes refused: %s", job.size, said["cause"])
    return said, images


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what was still to be written has nobody to read it
            cast("BinaryIO", pipe).close()
    process.wait()
