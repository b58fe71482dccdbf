"""Reading in a process of its own, where all goes well: one process reads for all of these tests."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from runners.documents.document import Document
from runners.documents.pool import pool
from runners.documents.pool.job import ReadJob
from runners.documents.pool.pool import ReaderPool
from runners.errors import InvalidDocument, NoText, UnsupportedMediaType
from tests.doubles.documents_doubles import BLIND, FAILING, PRINTING
from tests.inputs.documents_made import pdf, typed, word
from tests.runners.documents.pool.test_pool import SECONDS, children, page, readers, until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shared() -> Iterator[ReaderPool]:
    """One reading process for documents that follow one another."""
    with readers("ByWidth") as found:
        yield found


async def test_a_document_is_read_in_another_process(shared: ReaderPool) -> None:
    assert await shared.read(word("One.", title="T"), "a.docx", seconds=SECONDS) == Document("One.", 1, "T")
    assert (await shared.read(page(), "", seconds=SECONDS)).text == "RGB 100 x 50"
    assert len(children()) == 1


async def test_pages_travel_back_as_pictures(shared: ReaderPool) -> None:
    data = pdf(typed(["Some text, which is long enough not to be taken for a stamp on a scan."]), b"9 9 99 99 re f")
    document = await shared.read(data, "", seconds=SECONDS, as_pictures=True)
    assert document.text == ""
    assert [image[:4] for image in document.images] == [b"\x89PNG"] * 2


async def test_where_a_picture_is_wanted_nothing_else_is_read(shared: ReaderPool) -> None:
    with pytest.raises(UnsupportedMediaType, match="image"):
        await shared.read(b"text", "", seconds=SECONDS, pictures_only=True)
    assert await shared.read(page(), "", seconds=SECONDS, pictures_only=True)


async def test_errors_travel_back_as_themselves(shared: ReaderPool) -> None:
    for data, error in ((b"", InvalidDocument), (bytes(99), UnsupportedMediaType), (page(BLIND), NoText)):
        with pytest.raises(error):
            await shared.read(data, "", seconds=SECONDS)


async def test_an_unexpected_error_is_reported_without_the_words_of_a_library(shared: ReaderPool) -> None:
    with pytest.raises(InvalidDocument, match=r"^the document cannot be read$"):
        await shared.read(page(FAILING), "", seconds=SECONDS)


async def test_a_library_that_prints_disturbs_nobody(shared: ReaderPool) -> None:
    assert (await shared.read(page(PRINTING), "", seconds=SECONDS)).text == "read"


async def test_a_reader_that_waits_keeps_no_document(shared: ReaderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[ReadJob]] = []

    def job(*arguments: Any) -> ReadJob:
        one = ReadJob(*arguments)
        made.append(weakref.ref(one))
        return one

    monkeypatch.setattr(pool, "ReadJob", job)
    await shared.read(page(), "", seconds=SECONDS)
    await until(lambda: gc.collect() >= 0 and made[0]() is None)


async def test_reading_processes_stand_back_for_others(shared: ReaderPool) -> None:
    await shared.read(page(), "", seconds=SECONDS)
    (process,) = children()
    assert process.nice() > psutil.Process().nice() or process.nice() == 19
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
