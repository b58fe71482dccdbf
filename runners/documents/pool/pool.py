"""Documents are read beside the server, in processes that a deadline or a caller who leaves can end.

There are as many general seats as settings say, and a quick one besides; ``turns`` says who is read next on which. A
thread looks at what each document has burnt and makes it give its seat back. What a document may burn in all is its
``budget``, which the reading process sets itself and the kernel holds it to.
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
MOST_WORKERS: Final = 4
WARM_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.1
"""Between looks at what the documents that are being read have burnt, while others wait."""

TOO_SLOW: Final = "the document takes too long to read"
NOT_WARM: Final = "the reading processes do not start"


class ReaderPool:
    """Reading processes, one document each at a time. ``ocr`` is where the class stands that reads pages."""

    def __init__(self, workers: int | None = None, *, ocr: str = OCR) -> None:
        general = workers or min(MOST_WORKERS, max(1, cores() // 2))
        threads = max(1, cores() // general)
        self._quick = ReaderProcess(ocr, threads)
        self._readers = [self._quick, *(ReaderProcess(ocr, threads) for _ in range(general))]
        self._turns = Turns()
        self._is_warm = False
        self._end = Event()
        # A server that ends waits for no document: its threads are daemons, and its processes end with it.
        self._threads = [Thread(target=self._work, args=(reader,), daemon=True) for reader in self._readers]
        self._threads.append(Thread(target=self._watch, daemon=True))
        for thread in self._threads:
            thread.start()

    async def read(  # noqa: PLR0913 - what is asked of a document, and for whom
        self,
        data: bytes,
        filename: str,
        *,
        seconds: float,
        as_pictures: bool = False,
        pictures_only: bool = False,
        caller: str = "",
    ) -> Document:
        """The document; ``seconds`` are from now on, the wait for a reader among them. Cancelled, it ends the reading.

        With ``as_pictures``, pages without text are the document's images; with ``pictures_only``, all else is refused.
        Raises what ``reader.read`` raises, InvalidDocument where its process died of it, ReadingTimeout, and
        ModelUnavailable where too many wait or a process was killed from outside. ``caller`` is whose turn it takes.
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
        """Returns when every process has read a page. Raises ModelUnavailable where OCR cannot be loaded."""
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
        """Ends the processes, with what they are reading; may be called twice."""
        jobs = self._turns.close()
        self._end.set()
        for reader in self._readers:
            reader.kill()
        for job in jobs:
            job.stop()
        for thread in self._threads:
            thread.join()

    def _work(self, reader: ReaderProcess) -> None:
        """A thread's life."""
        while self._do_next(reader):
            if self._is_warm and reader.is_cold and self._turns.is_empty():
                reader.do(_example() if reader is not self._quick else _short_example())
        reader.leave()

    def _do_next(self, reader: ReaderProcess) -> bool:
        """False at the end. The thread waits for another job without keeping this one, which may be large."""
        job = self._turns.take(quick=reader is self._quick)
        if job is not None:
            self._turns.leave(job, again=not reader.do(job))
        return job is not None

    def _watch(self) -> None:
        """The life of the thread that makes documents give their seats back."""
        while self._turns.wait_until_contended():
            for job in self._turns.overdue():
                job.set_aside()
            self._end.wait(LOOK_SECONDS)


async def _answer(job: ReadJob) -> Document:
    """Raises ModelUnavailable where it is the readers that were closed, and not the caller who left."""
    answer = asyncio.wrap_future(job.answer)
    answer.add_done_callback(_heard)
    await asyncio.wait([answer])
    if answer.cancelled():
        raise ModelUnavailable(CLOSED)
    return answer.result()


def _heard(answer: asyncio.Future[Document]) -> None:
    """Takes note of an answer that nobody waits for any more, which asyncio would report as unnoticed."""
    if not answer.cancelled():
        answer.exception()


def _example() -> ReadJob:
    return ReadJob(_example_page(), "")


def _short_example() -> ReadJob:
    """What needs no OCR: the quick seat loads it when the first page comes, and saves its memory until then."""
    return ReadJob(b"Atelier", "")


@cache
def _example_page() -> bytes:
    """A small picture with a word on it; made once, at the start, where failing does no harm."""
    image, file = Image.new("RGB", (160, 64), "white"), BytesIO()
    ImageDraw.Draw(image).text((16, 12), "Atelier", "black", ImageFont.load_default(32))
    image.save(file, "PNG")
    return file.getvalue()
