"""Reads documents outside the server, in processes that are killed at a deadline or when the caller disconnects.

The settings give the number of general seats; there is one quick seat besides. ``turns`` decides which document is next
on which seat. A thread watches the CPU time of each document and takes its seat back. A document's total CPU time is
limited by its ``budget``, which the reading process sets and the kernel enforces.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import wait
from contextlib import suppress
from functools import cache
from io import BytesIO
from threading import Event, Thread
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from machine.devices import cores
from runners.documents.document import Document
from runners.documents.pool.job import ReadJob
from runners.documents.pool.reader_process import ReaderProcess
from runners.documents.pool.turns import CLOSED, Turns
from runners.errors import ModelUnavailable, NoText, ReadingTimeout

OCR: Final = "runners.documents.scans.ocr:Ocr"
MAX_WORKERS: Final = 4
WARM_SECONDS: Final = 120.0
CHECK_SECONDS: Final = 0.1
"""Seconds between checks of the CPU time of documents that are being read, while others wait."""

TOO_SLOW: Final = "the document takes too long to read"
NOT_WARM: Final = "the reading processes do not start"


class ReaderPool:
    """Reading processes, one document each at a time. ``ocr`` is the class that reads pages, as ``module:class``."""

    def __init__(self, workers: int | None = None, *, ocr: str = OCR) -> None:
        general = workers or min(MAX_WORKERS, max(1, cores() // 2))
        threads = max(1, cores() // general)
        self._quick = ReaderProcess(ocr, threads)
        self._readers = [self._quick, *(ReaderProcess(ocr, threads) for _ in range(general))]
        self._turns = Turns()
        self._is_warm = False
        self._end = Event()
        # A server that exits does not wait for documents: its threads are daemons, and its processes end with it.
        self._threads = [Thread(target=self._work, args=(reader,), daemon=True) for reader in self._readers]
        self._threads.append(Thread(target=self._watch, daemon=True))
        for thread in self._threads:
            thread.start()

    async def read(  # noqa: PLR0913 - the options of one request
        self,
        data: bytes,
        filename: str,
        *,
        seconds: float,
        as_pictures: bool = False,
        pictures_only: bool = False,
        caller: str = "",
    ) -> Document:
        """Read a document within ``seconds``, including the wait for a reader. Cancelling it stops the reading.

        With ``as_pictures``, pages without text become the document's images; ``pictures_only`` accepts only pictures.
        Raises what ``reader.read`` raises, InvalidDocument where it crashed its process, ReadingTimeout, and
        ModelUnavailable where too many wait or a process was killed from outside. Turns are shared by ``caller``.
        """
        job = ReadJob(data, filename, as_pictures, pictures_only, caller)
        self._turns.add(job)
        try:
            async with asyncio.timeout(seconds):
                return await _answer(job)
        except TimeoutError:
            raise ReadingTimeout(TOO_SLOW) from None
        finally:
            job.stop()

    def warm(self) -> None:
        """Have every general process read a page. Raises ModelUnavailable where OCR cannot be loaded."""
        self._is_warm = True
        jobs = [_example() for _ in self._readers[1:]]
        for job in jobs:
            self._turns.add(job)
        late = wait([job.answer for job in jobs], WARM_SECONDS).not_done
        for job in jobs:
            job.stop()
            if not late:
                with suppress(NoText):
                    job.answer.result()
        if late:
            raise ModelUnavailable(NOT_WARM)

    def close(self) -> None:
        """Kill the processes and cancel what they read; may be called twice."""
        jobs = self._turns.close()
        self._end.set()
        for reader in self._readers:
            reader.kill()
        for job in jobs:
            job.stop()
        for thread in self._threads:
            thread.join()

    def _work(self, reader: ReaderProcess) -> None:
        """Run one reader's thread."""
        while self._do_next(reader):
            if self._is_warm and reader.is_cold and self._turns.is_empty():
                reader.do(_example() if reader is not self._quick else _short_example())
        reader.leave()

    def _do_next(self, reader: ReaderProcess) -> bool:
        """Read the next document; return False when the pool is closed.

        The thread waits in here so that it holds no reference to the last job, which may be large.
        """
        job = self._turns.take(quick=reader is self._quick)
        if job is not None:
            self._turns.leave(job, again=not reader.do(job))
        return job is not None

    def _watch(self) -> None:
        """Run the thread that takes seats back from documents."""
        while self._turns.wait_until_contended():
            for job in self._turns.overdue():
                job.set_aside()
            self._end.wait(CHECK_SECONDS)


async def _answer(job: ReadJob) -> Document:
    """Wait for the result. Raises ModelUnavailable where the pool was closed."""
    answer = asyncio.wrap_future(job.answer)
    answer.add_done_callback(_retrieve)
    await asyncio.wait([answer])
    if answer.cancelled():
        raise ModelUnavailable(CLOSED)
    return answer.result()


def _retrieve(answer: asyncio.Future[Document]) -> None:
    """Retrieve the exception so that asyncio does not report it as never retrieved."""
    if not answer.cancelled():
        answer.exception()


def _example() -> ReadJob:
    return ReadJob(_example_page(), "")


def _short_example() -> ReadJob:
    """Return a job without OCR: the quick seat loads OCR for its first page, and saves the memory until then."""
    return ReadJob(b"Atelier", "")


@cache
def _example_page() -> bytes:
    """Draw a small picture with a word on it; once, at the start, where a failure does no harm."""
    image, file = Image.new("RGB", (160, 64), "white"), BytesIO()
    ImageDraw.Draw(image).text((16, 12), "Atelier", "black", ImageFont.load_default(32))
    image.save(file, "PNG")
    return file.getvalue()
