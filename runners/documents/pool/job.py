"""One document on its way through the reading processes."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from concurrent.futures import Future
from typing import Final

import psutil

from runners.documents.document import Document

IDLE_SHARE: Final = 0.4
"""Seconds of computing that a second of idling counts as: the process may wait for a core, or hang."""

_ages = itertools.count()


class ReadJob:
    """A document to be read. ``stop``, ``set_aside`` and ``fail`` may be called from any thread at any time."""

    def __init__(
        self, data: bytes, filename: str, as_pictures: bool = False, pictures_only: bool = False, caller: str = ""
    ) -> None:
        self.data, self.size = data, len(data)
        self.request = {"filename": filename, "as_pictures": as_pictures, "pictures_only": pictures_only}
        self.caller = caller
        self.age = next(_ages)  # smaller is older
        self.tries = 0  # how often its seat was taken back
        self.answer: Future[Document] = Future()
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._begun, self._computed = 0.0, 0.0
        self._is_stopped = self._is_set_aside = False

    def stop(self) -> None:
        """Cancel the job: kill the process that reads it, and drop its bytes."""
        with self._lock:
            self._is_stopped, self.data = True, b""  # the job may stay in the queue for long
            if not self.answer.done():
                self.answer.cancel()
                self.answer.set_running_or_notify_cancel()
            if self._process is not None:
                self._process.kill()

    def set_aside(self) -> None:
        """Kill the process that reads it, so that others are read first; the job is read again later."""
        with self._lock:
            if self._process is not None and not self._is_stopped:
                self._is_set_aside = True
                self._process.kill()

    def give(self, document: Document) -> None:
        """Set the result, unless the job is done."""
        with self._lock:
            if not self.answer.done():
                self.answer.set_result(document)

    def fail(self, error: Exception) -> None:
        """Set an error, unless the job is done."""
        with self._lock:
            if not self.answer.done():
                self.answer.set_exception(error)

    def begins(self, process: subprocess.Popen[bytes]) -> bool:
        """Assign the job to a process; return False if it was stopped before."""
        with self._lock:
            self._is_set_aside = False
            self._begun, self._computed = time.monotonic(), _computed(process)
            self._process = None if self._is_stopped else process
            return not self._is_stopped

    def ends(self) -> bool:
        """Release the process, so that the job no longer kills it; return whether it may have done so."""
        with self._lock:
            self._process = None
            return self._is_stopped or self._is_set_aside

    @property
    def is_set_aside(self) -> bool:
        """Whether its process was killed so that others are read first."""
        return self._is_set_aside

    def seconds(self) -> float:
        """Return the CPU seconds of this try; idle seconds count by ``IDLE_SHARE``."""
        with self._lock:
            if self._process is None:
                return 0.0
            computed = _computed(self._process) - self._computed
            return max(computed, IDLE_SHARE * (time.monotonic() - self._begun))


def _computed(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds of all threads; 0 for a process that has ended."""
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
