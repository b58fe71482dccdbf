"""Ends ``bentoml serve`` within a time limit: its arbiter waits a day for a worker that does not end."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import Final

import psutil

POLL_SECONDS: Final = 0.5
"""Seconds between checks of the deadline."""


class ShutdownGuard:
    """Passes signals to stop on to a server, and kills it if it does not stop in time."""

    def __init__(self, server: subprocess.Popen[bytes], seconds: float) -> None:
        """The server has ``seconds`` after the first signal."""
        self._server, self._seconds = server, seconds
        self._deadline: float | None = None

    def send(self, number: int) -> None:
        """Send the signal ``number`` to the server."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
        self._server.send_signal(number)

    def wait(self) -> int:
        """Wait until the server and its workers have ended; return the exit status."""
        while True:
            try:
                return self._server.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if self._deadline is not None and time.monotonic() > self._deadline:
                    self._kill()

    def _kill(self) -> None:
        """Kill the arbiter first, which would restart a killed worker; the workers are in other sessions."""
        with suppress(psutil.Error):
            workers = psutil.Process(self._server.pid).children()
            self._server.kill()
            for worker in workers:
                with suppress(psutil.Error):
                    worker.kill()
