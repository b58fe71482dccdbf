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
"""What a second counts in which a process computes nothing: it may wait for a core, or hang."""

_ages = itertools.count()


class ReadJob:
    """A document to be read. ``stop``, ``set_aside`` and ``fail`` may come from any thread and at any time."""

    def __init__(
        self, data: bytes, filename: str, as_pictures: bool = False, pictures_only: bool = False, caller: str = ""
    ) -> None:
        self.data, self.size = data, len(data)
        self.asked = {"filename": filename, "as_pictures": as_pictures, "pictures_only": pictures_only}
        self.caller = caller
        self.age = next(_ages)  # the smaller, the older
        self.tries = 0  # how often it was given back
        self.answer: Future[Document] = Future()
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._begun, self._computed = 0.0, 0.0
        self._is_stopped = self._is_set_aside = False

    def stop(self) -> None:
        """Kills the process that reads it, if one does: nothing goes on for it afterwards, and it keeps no bytes."""
        with self._lock:
            self._is_stopped, self.data = True, b""  # it may stand in a queue for long
            if not self.answer.done():
                self.answer.cancel()
                self.answer.set_running_or_notify_cancel()
            if self._process is not None:
                self._process.kill()

    def set_aside(self) -> None:
        """Kills the process that reads it, so that others are read first; it is to be read anew."""
        with self._lock:
            if self._process is not None and not self._is_stopped:
                self._is_set_aside = True
                self._process.kill()

    def give(self, document: Document) -> None:
        """The answer, unless there is one."""
        with self._lock:
            if not self.answer.done():
                self.answer.set_result(document)

    def fail(self, error: Exception) -> None:
        """The error instead of an answer, unless there is one."""
        with self._lock:
            if not self.answer.done():
                self.answer.set_exception(error)

    def begins(self, process: subprocess.Popen[bytes]) -> bool:
        """False where it was stopped before."""
        with self._lock:
            self._is_set_aside = False
            self._begun, self._computed = time.monotonic(), _computed(process)
            self._process = None if self._is_stopped else process
            return not self._is_stopped

    def ends(self) -> bool:
        """Whether it may have killed its process; from here on it will not, as that has other documents to read."""
        with self._lock:
            self._process = None
            return self._is_stopped or self._is_set_aside

    @property
    def is_set_aside(self) -> bool:
        """Whether its process was killed for others' sake."""
        return self._is_set_aside

    def seconds(self) -> float:
        """Seconds of computing that this try has taken; of waiting, a share."""
        with self._lock:
            if self._process is None:
                return 0.0
            computed = _computed(self._process) - self._computed
            return max(computed, IDLE_SHARE * (time.monotonic() - self._begun))


def _computed(process: subprocess.Popen[bytes]) -> float:
    """Seconds of all its threads; 0 of one that is gone."""
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
