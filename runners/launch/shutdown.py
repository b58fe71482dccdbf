"""The end of ``bentoml serve``, for certain: its arbiter waits a day for a worker that does not end."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import Final

import psutil

LOOK_SECONDS: Final = 0.5


class Ending:
    """Passes a wish to end on, and makes it come true by force when it does not by itself."""

    def __init__(self, server: subprocess.Popen[bytes], seconds: float) -> None:
        """``seconds`` is what the server has from the first wish on."""
        self._server, self._seconds = server, seconds
        self._deadline: float | None = None

    def ask(self, number: int) -> None:
        """Sends this signal."""
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
