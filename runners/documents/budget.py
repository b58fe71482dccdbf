"""How much computing may one document take? The reading process sets the limit, and the kernel ends what passes it.

A parser in C holds the interpreter for as long as it likes, so no check in Python would do. Signal XCPU ends the
process at once, wherever it is; the server sees by it what the document died of.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DOCUMENT_SECONDS: Final = 10.0
"""Seconds of computing that any document may take."""
MIB_SECONDS: Final = 2.0
"""Seconds more for each MiB of its file."""
PAGE_SECONDS: Final = 0.5
"""Seconds more for each page that was looked at; one of dense text takes a hundredth of it."""
PICTURE_SECONDS: Final = 1.0
"""Seconds more for each page of which a picture was made: large scans take half of it."""
RECOGNITION_SECONDS: Final = 30.0
"""Seconds that reading one picture may take, which count for nothing else; a page of a newspaper takes two."""

MIB: Final = 1024 * 1024


class Budget:
    """The computing that is left of what the document that is being read may take."""

    def __init__(self) -> None:
        self._end = math.inf  # in seconds that the process has computed

    def begin(self, size: int) -> None:
        """Another document, of ``size`` bytes, is read from now on."""
        self._end = time.process_time() + DOCUMENT_SECONDS + MIB_SECONDS * size / MIB
        _limit(self._end)

    def more(self, seconds: float) -> None:
        """The document may take so much more."""
        if self._end < math.inf:
            self._end += seconds
            _limit(self._end)

    def finish(self) -> None:
        """No document is read any more."""
        self._end = math.inf
        _limit(self._end)

    @contextmanager
    def picture(self) -> Iterator[None]:
        """What is computed in here is not the document's: reading a picture takes what it takes, up to a limit."""
        begun = time.process_time()
        if self._end < math.inf:
            _limit(begun + RECOGNITION_SECONDS)
        try:
            yield
        finally:
            self.more(time.process_time() - begun + PICTURE_SECONDS)


_of_this_process: Final = Budget()


def current() -> Budget:
    """The budget of the document that this process reads; elsewhere it limits nothing."""
    return _of_this_process


def page() -> None:
    """Called by readers of documents with pages when one was looked at: more pages may take more computing."""
    _of_this_process.more(PAGE_SECONDS)


def _limit(end: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    wanted = resource.RLIM_INFINITY if end == math.inf else math.ceil(end)
    if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
        wanted = hard
    resource.setrlimit(resource.RLIMIT_CPU, (wanted, hard))
