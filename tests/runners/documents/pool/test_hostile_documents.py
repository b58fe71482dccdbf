"""Hostile documents of every format: none takes more computing or memory than its budget, or the readers with it.

What is judged is CPU time and memory of the reading process, with the project's own OCR left out: pictures are read by
a double, so that the time is the parsers'.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable

import psutil
import pytest

from runners.documents import budget
from runners.documents.pool.pool import ReaderPool
from runners.documents.pool.reader_main import MAX_MEMORY
from runners.errors import RunnerError
from tests.inputs.documents_made import pdf, typed
from tests.inputs.hostile_documents import (
    HTML,
    LONG_HTML,
    MARKDOWN,
    PDFS,
    PICTURES,
    TEXTS,
    WORD,
    heavy_pages,
    soft_masks,
)
from tests.support.running import cpu_time
from tests.support.running.effort import effort

pytestmark = pytest.mark.server

SECONDS = 300.0
SPARE = 10.0
"""Seconds of computing besides a budget: a process starts, a limit is in whole seconds, a machine is slow."""
LINEAR = 10.0
"""Seconds of computing for a million characters that are refused, or read in a second or two."""

Made = Callable[[], bytes]


def computed() -> float:
    """Seconds of all reading processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def taken(data: bytes, filename: str) -> float:
    """Seconds of an ordinary core in which a document was read or refused, by a process of its own."""
    before = computed()
    readers = ReaderPool(1, ocr="tests.doubles.documents_doubles:Sized")
    try:
        answers = await asyncio.gather(readers.read(data, filename, seconds=SECONDS), return_exceptions=True)
    finally:
        await asyncio.to_thread(readers.close)
    assert all(error.status in {400, 413, 415, 422} for error in answers if isinstance(error, RunnerError))
    return (computed() - before) / cpu_time.slowness()


SLOW_PDFS = list(PDFS)[1:]


@pytest.mark.parametrize(
    "name",
    [next(iter(PDFS)), *(pytest.param(name, marks=pytest.mark.slow) for name in effort(SLOW_PDFS, SLOW_PDFS[::3]))],
)
async def test_no_pdf_of_some_kilobytes_takes_more_than_its_budget(name: str) -> None:
    data = PDFS[name]()
    assert len(data) < 64 * 1024
    assert await taken(data, "a.pdf") < budget.DOCUMENT_SECONDS + 2 * budget.MIB_SECONDS + SPARE


@pytest.mark.parametrize("name", MARKDOWN)
async def test_no_markdown_is_slow(name: str) -> None:
    assert await taken(MARKDOWN[name](), "a.md") < LINEAR


@pytest.mark.parametrize("name", HTML)
async def test_no_html_is_slow(name: str) -> None:
    assert await taken(HTML[name](), "a.html") < LINEAR


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_HTML)
async def test_no_html_of_many_megabytes_takes_more_than_its_budget(name: str) -> None:
    data = LONG_HTML[name]()
    allowed = budget.DOCUMENT_SECONDS + budget.MIB_SECONDS * len(data) / budget.MIB
    assert await taken(data, "a.html") < allowed + SPARE


@pytest.mark.parametrize("name", TEXTS)
async def test_no_text_is_slow(name: str) -> None:
    assert await taken(TEXTS[name](), "a.txt") < LINEAR


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in WORD])
async def test_no_word_file_is_slow(name: str) -> None:
    assert await taken(WORD[name](), "a.docx") < budget.DOCUMENT_SECONDS + SPARE


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in PICTURES])
async def test_no_picture_is_slow(name: str) -> None:
    allowed = budget.DOCUMENT_SECONDS + 200 * budget.PICTURE_SECONDS
    assert await taken(PICTURES[name](), "a.tif") < allowed


async def test_no_reading_process_may_have_more_memory_than_is_promised() -> None:
    readers = ReaderPool(1, ocr="tests.doubles.documents_doubles:Sized")
    try:
        await readers.read(b"a", "", seconds=SECONDS)
        (process,) = (
            one for one in psutil.Process().children() if "runners.documents.pool.reader_main" in one.cmdline()
        )
        assert process.rlimit(psutil.RLIMIT_DATA) == (MAX_MEMORY, MAX_MEMORY)
    finally:
        await asyncio.to_thread(readers.close)


async def test_a_short_document_is_answered_beside_sixteen_hostile_ones_from_the_same_address() -> None:
    short = pdf(typed(["Some text, which is long enough not to be taken for a stamp on a scan."]))
    weapons = [soft_masks(), PDFS["300,000 fills"](), heavy_pages(), PDFS["nested forms"]()] * 4
    readers = ReaderPool(1, ocr="tests.doubles.documents_doubles:Sized")
    begun = asyncio.get_running_loop().time()
    heavy = [asyncio.create_task(readers.read(one, "a.pdf", seconds=SECONDS, caller="a")) for one in weapons]
    try:
        await asyncio.sleep(0.5)
        for data, name in ((short, "a.pdf"), (b"Some text.", "a.txt")):
            assert (await readers.read(data, name, seconds=SECONDS, caller="a")).text.startswith("Some text")
        assert sum(task.done() for task in heavy) < len(heavy) / 2  # it waited for few of them, and not for all
        assert asyncio.get_running_loop().time() - begun < 60
    finally:
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)
        await asyncio.to_thread(readers.close)
