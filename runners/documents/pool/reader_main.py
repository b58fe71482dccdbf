"""The reading process: python -m runners.documents.pool.reader_main PARENT OCR THREADS.

Parsers in C meet hostile files here, where they may hang and be killed, crash, or take too much memory.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

from PIL import Image

from runners.documents import budget, reader
from runners.documents.pool import protocol
from runners.documents.scans.layout import TextLine
from runners.documents.scans.pages import AsPictures, PageReader
from runners.errors import InvalidDocument, ModelUnavailable, RunnerError

MAX_MEMORY: Final = 1536 * 1024**2
"""Bytes of data that the process may allocate: OCR takes 250 MB, a large picture 500 more, threads some."""
NICENESS: Final = 5
"""Nice value of reading processes: short requests must not wait for long documents."""
PARENT_SECONDS: Final = 1.0
"""Seconds between checks that the server is still running."""
PR_SET_PDEATHSIG: Final = 1

NO_OCR: Final = "the text recognition cannot be loaded"


class LazyOcr:
    """OCR that is loaded for the first page; ``place`` is ``module:class``, called with ``threads``.

    Its CPU time does not count against the document's budget.
    """

    def __init__(self, place: str, threads: int) -> None:
        self._place, self._threads = place, threads
        self._ocr: PageReader | None = None

    def read(self, image: Image.Image) -> str:
        """Return a page's text. Raises ModelUnavailable where OCR cannot be loaded."""
        with budget.current().picture():
            self._ocr = self._ocr or self._loaded()
            return self._ocr.read(image)

    def lines(self, image: Image.Image) -> list[TextLine]:
        """Return a page's lines. Raises ModelUnavailable where OCR cannot be loaded."""
        with budget.current().picture():
            self._ocr = self._ocr or self._loaded()
            return self._ocr.lines(image)

    def _loaded(self) -> PageReader:
        module, _, name = self._place.partition(":")
        try:
            reader: PageReader = getattr(importlib.import_module(module), name)(self._threads)
        except Exception as error:  # an installation may lack anything
            raise ModelUnavailable(NO_OCR) from error
        return reader


class CountedPictures(AsPictures):
    """Pages that are kept as pictures; encoding them does not count against the document's budget."""

    def read(self, image: Image.Image) -> str:
        """Keep the page and return no text. Raises PayloadTooLarge."""
        with budget.current().picture():
            return super().read(image)


def main() -> None:
    """Read documents until the server closes the pipe or dies."""
    parent, ocr = int(sys.argv[1]), LazyOcr(sys.argv[2], int(sys.argv[3]))
    _end_with(parent)
    _limit_process()
    requests, answers = _own_pipes()
    while True:
        try:
            request, (data,) = protocol.read(requests)
        except EOFError:
            return
        _answer(answers, request, data, ocr)


def _answer(answers: BinaryIO, request: dict[str, Any], data: bytes, ocr: PageReader) -> None:
    pages = CountedPictures() if request["as_pictures"] else ocr
    budget.current().begin(len(data))
    try:
        document = reader.read(data, request["filename"], pages, pictures_only=request["pictures_only"])
    except RunnerError as error:
        cause = repr(error.__cause__) if error.__cause__ else ""
        protocol.write(answers, {"error": type(error).__name__, "message": error.message, "cause": cause[:500]})
    except Exception as error:  # parsers raise anything for a corrupt file
        failed = InvalidDocument(protocol.CANNOT_BE_READ)
        protocol.write(answers, {"error": "InvalidDocument", "message": failed.message, "cause": repr(error)[:500]})
    else:
        protocol.write(answers, {**protocol.of_document(document), "memory": _memory()}, document.images)
    finally:
        budget.current().finish()


def _memory() -> int:
    """Return the process's resident bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes to the server, moved away from standard input and output that libraries may use."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    return requests, answers


def _end_with(parent: int) -> None:
    """Exit with the parent: Linux sends a signal; elsewhere, and if it died before that, a thread polls."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _limit_process() -> None:
    """Forbid files and core dumps, limit the memory, and lower the priority."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which closes the pipe
    os.nice(NICENESS)
    for limit, maximum in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_DATA, MAX_MEMORY)):
        hard = resource.getrlimit(limit)[1]
        allowed = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
        resource.setrlimit(limit, (allowed, allowed))


if __name__ == "__main__":
    main()
