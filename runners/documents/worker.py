"""Documents are read beside the server, in processes that a deadline or a caller who leaves can end."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from io import BytesIO
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from runners.documents.document import Document
from runners.documents.seat import CLOSED, Job, Seat
from runners.errors import ModelUnavailable, NoText, ReadingTimeout
from runners.machine import cores

OCR: Final = "runners.documents.ocr:Ocr"
MAX_WAITING: Final = 16
"""Documents that may wait for a reader, besides those that are being read."""
MOST_WORKERS: Final = 4
WARM_SECONDS: Final = 120.0

TOO_MANY: Final = "too many documents are being read; try again"
TOO_SLOW: Final = "the document takes too long to read"
NOT_WARM: Final = "the reading processes do not start"


class Readers:
    """Reading processes, one document each at a time. ``ocr`` is where the class stands that reads pages."""

    def __init__(self, workers: int | None = None, *, ocr: str = OCR) -> None:
        self._workers = workers or min(MOST_WORKERS, max(1, cores() // 2))
        threads = max(1, cores() // self._workers)
        self._seats = [Seat(ocr, threads) for _ in range(self._workers)]
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._jobs: dict[Future[Document], Job] = {}  # by their answers, until these are there
        self._lock = Lock()
        self._is_warm = self._is_closed = False
        # A server that ends waits for no document: its threads are daemons, and its processes end with it.
        self._threads = [Thread(target=self._work, args=(seat,), daemon=True) for seat in self._seats]
        for thread in self._threads:
            thread.start()

    async def read(
        self, data: bytes, filename: str, *, seconds: float, as_pictures: bool = False, pictures_only: bool = False
    ) -> Document:
        """The document; ``seconds`` are from now on, the wait for a reader among them. Cancelled, it ends the reading.

        With ``as_pictures``, pages without text are the document's images; with ``pictures_only``, all else is refused.
        Raises what ``reader.read`` raises, InvalidDocument where its process died of it, ReadingTimeout, and
        ModelUnavailable where too many wait.
        """
        job = Job(data, filename, as_pictures, pictures_only)
        self._take(job)
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
        jobs = [_example() for _ in self._seats]
        for job in jobs:
            self._take(job)
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
        with self._lock:
            self._is_closed, jobs = True, tuple(self._jobs.values())
        for seat in self._seats:
            seat.kill()
            self._queue.put(None)
        for job in jobs:
            job.stop()
        for thread in self._threads:
            thread.join()

    def _take(self, job: Job) -> None:
        with self._lock:
            if self._is_closed:
                raise ModelUnavailable(CLOSED)
            if len(self._jobs) >= self._workers + MAX_WAITING:
                raise ModelUnavailable(TOO_MANY)
            self._jobs[job.answer] = job
        job.answer.add_done_callback(self._forget)
        self._queue.put(job)

    def _forget(self, answer: Future[Document]) -> None:
        self._jobs.pop(answer, None)

    def _work(self, seat: Seat) -> None:
        """A thread's life."""
        while self._do_next(seat):
            if self._is_warm and seat.is_cold:
                seat.do(_example())
        seat.leave()

    def _do_next(self, seat: Seat) -> bool:
        """False at the end. The thread waits for another job without keeping this one, which may be large."""
        job = self._queue.get()
        if job is not None:
            seat.do(job)
        return job is not None


async def _answer(job: Job) -> Document:
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


def _example() -> Job:
    return Job(_example_page(), "")


@cache
def _example_page() -> bytes:
    """A small picture with a word on it; made once, at the start, where failing does no harm."""
    image, file = Image.new("RGB", (160, 64), "white"), BytesIO()
    ImageDraw.Draw(image).text((16, 12), "Atelier", "black", ImageFont.load_default(32))
    image.save(file, "PNG")
    return file.getvalue()
