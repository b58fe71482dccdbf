"""The end of ``bentoml serve``, for certain: its arbiter waits a day for a worker that does not end."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import Final

import psutil

LOOK_SECONDS: Final = 0.5


class ShutdownGuard:
    """Passes the request to stop on to a server, and ends it by force where it does not stop in time."""

    def __init__(self, server: subprocess.Popen[bytes], seconds: float) -> None:
        """``seconds`` is what the server has from the first request to stop on."""
        self._server, self._seconds = server, seconds
        self._deadline: float | None = None

    def send(self, number: int) -> None:
        """Sends this signal to the server."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
        self._server.send_signal(number)

    def wait(self) -> int:
        """The server's exit status; nothing of it runs any more."""
        while True:
            try:
                return self._server.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if self._deadline is not None and time.monotonic() > self._deadline:
                    self._kill()

    def _kill(self) -> None:
        """The arbiter first, which would start a killed worker anew; its workers have sessions of their own."""
        with suppress(psutil.Error):
            workers = psutil.Process(self._server.pid).children()
            self._server.kill()
            for worker in workers:
                with suppress(psutil.Error):
                    worker.kill()
