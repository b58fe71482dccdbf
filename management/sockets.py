"""Unix sockets in folders with long names: the system takes 108 bytes of a path, and no more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LONGEST: Final = 100
"""Bytes of a path that is used as it is."""


class SocketPath:
    """A path by which a socket can be reached for as long as this is open: through its folder, where it is long."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder: int | None = None
        if len(os.fsencode(path)) > LONGEST:
            try:
                self._folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:  # it is gone, and cannot be reached by any path
                return
            self.path = f"/proc/self/fd/{self._folder}/{Path(path).name}"

    def close(self) -> None:
        """Nobody connects by it any more."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
