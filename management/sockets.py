"""Unix sockets in folders with long names: the system accepts paths of at most 108 bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LONGEST: Final = 100
"""Bytes of the longest path that is used as it is."""


class SocketPath:
    """A path to a socket that is valid while this is open: a long path goes through a descriptor of its folder."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder: int | None = None
        if len(os.fsencode(path)) > LONGEST:
            try:
                self._folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:  # the folder is gone, so no path reaches the socket
                return
            self.path = f"/proc/self/fd/{self._folder}/{Path(path).name}"

    def close(self) -> None:
        """Close the descriptor; the path must not be used afterwards."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
