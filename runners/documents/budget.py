"""How much computing may one document take? The reading process sets the limit, and the kernel ends what passes it.

A parser in C holds the interpreter for as long as it likes, so no check in Python would do. Signal XCPU ends the
process at once, wherever it is; the server learns the cause of death from it.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DOCUMENT_SECONDS: Final = 10.0
"""CPU seconds that any document may take."""
MIB_SECONDS: Final = 2.0
"""Additional CPU seconds for each MiB of the file."""
PAGE_SECONDS: Final = 0.5
"""Additional CPU seconds for each page that was read; a page of dense text takes a hundredth of it."""
PICTURE_SECONDS: Final = 1.0
"""Additional CPU seconds for each page that was rendered as a picture: large scans take half of it."""
RECOGNITION_SECONDS: Final = 30.0
"""CPU seconds that OCR of one picture may take, apart from the document's; a page of a newspaper takes two."""

MIB: Final = 1024 * 1024


class Budget:
    """The CPU time that is left for the document that is being read."""

    def __init__(self) -> None:
        self._end = math.inf  # in CPU seconds of this process

    def begin(self, size: int) -> None:
        """Start the budget of a document of ``size`` bytes."""
        self._end = time.process_time() + DOCUMENT_SECONDS + MIB_SECONDS * size / MIB
        _limit(self._end)

    def more(self, seconds: float) -> None:
        """Add CPU seconds to the document's budget."""
        if self._end < math.inf:
            self._end += seconds
            _limit(self._end)

    def finish(self) -> None:
        """Lift the limit: no document is being read."""
        self._end = math.inf
        _limit(self._end)

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Give OCR of a picture a limit of its own, and do not count it against the document."""
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
    """Add a page's share to the budget; readers call it for every page that they read."""
    _of_this_process.more(PAGE_SECONDS)


def _limit(end: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = resource.RLIM_INFINITY if end == math.inf else math.ceil(end)
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
