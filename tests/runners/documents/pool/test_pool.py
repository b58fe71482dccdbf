"""Reading in processes of its own: deadlines, deaths, callers who leave, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from runners.documents.document import Document
from runners.documents.pool import pool, reader_process, turns
from runners.documents.pool.job import ReadJob
from runners.documents.pool.pool import ReaderPool
from runners.documents.pool.turns import MAX_WAITING
from runners.errors import (
    InvalidDocument,
    ModelUnavailable,
    ReadingTimeout,
)
from tests.inputs.documents_made import saved, scanned_pdf, word, written
from tests.support.servers import ROOT

pytestmark = pytest.mark.server

SECONDS = 60.0


@contextmanager
def readers(ocr: str, workers: int = 1) -> Iterator[ReaderPool]:
    found = ReaderPool(workers, ocr=f"tests.doubles.documents_doubles:{ocr}")
    try:
        yield found
    finally:
        found.close()


def page(width: int = 100) -> bytes:
    return saved(Image.new("RGB", (width, 50)), "PNG")


def children() -> list[psutil.Process]:
    """Reading processes of this one; those that ended and were not waited for are among them."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "runners.documents.pool.reader_main" in process.cmdline() or process.status() == psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


async def until(holds: object) -> None:
    """Waits for something that happens soon."""
    assert callable(holds)
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to pass")


@pytest.mark.parametrize(("machine", "workers", "threads"), [(8, 2, 4), (2, 4, 1), (7, 0, 2)])
async def test_reading_processes_share_the_cores_that_this_process_may_use(
    machine: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.documents.pool.pool.cores", lambda: machine)
    with readers("Telling", workers) as found:
        said = json.loads((await found.read(page(), "", seconds=SECONDS)).text)
    assert said["threads"] == threads


async def test_reading_processes_are_told_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "ATELIER_KEY", "AWS_SECRET_ACCESS_KEY", "LC_ALL", "TZ"):
        monkeypatch.setenv(name, "C")
    with readers("Telling") as found:
        said = json.loads((await found.read(page(), "", seconds=SECONDS)).text)
    assert {"LC_ALL", "PATH", "PYTHONPATH", "TZ"} <= set(said["environment"])
    assert not [name for name in said["environment"] if "TOKEN" in name or "KEY" in name]


@pytest.mark.parametrize("error", [BlockingIOError(11, "no processes"), MemoryError(), RecursionError()])
async def test_a_reader_whose_process_cannot_be_started_tries_again_for_the_next_document(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise error

    with readers("Sized") as found:
        with monkeypatch.context() as broken:
            broken.setattr(reader_process, "_started", fail)
            for _ in range(2):
                with pytest.raises(ModelUnavailable, match="does not start"):
                    await found.read(page(), "", seconds=5)
        assert len(caplog.records) == 2
        assert await found.read(page(), "", seconds=SECONDS)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), RuntimeError()])
async def test_an_answer_that_cannot_be_understood_costs_its_process_and_no_reader(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    with readers("Sized") as found:
        await found.read(page(), "", seconds=SECONDS)
        (process,) = children()
        with monkeypatch.context() as broken:
            broken.setattr(reader_process, "_ask", fail)
            with pytest.raises(InvalidDocument):
                await found.read(page(), "", seconds=5)
        assert not process.is_running()
        assert await found.read(page(), "", seconds=SECONDS)


async def test_ocr_that_cannot_be_loaded_is_not_the_callers_fault() -> None:
    with readers("Absent") as found:
        with pytest.raises(ModelUnavailable, match="recognition"):
            await found.read(page(), "", seconds=SECONDS)
        with pytest.raises(ModelUnavailable, match="recognition"):
            await asyncio.to_thread(found.warm)


async def test_a_reader_that_hangs_is_killed_at_the_deadline_and_the_next_document_is_read() -> None:
    with readers("HangingOnLargePages") as found:
        await found.read(page(), "", seconds=SECONDS)
        (process,) = children()
        begun = time.monotonic()
        with pytest.raises(ReadingTimeout):
            await found.read(page(600), "", seconds=0.5)
        assert time.monotonic() - begun < 5
        assert (await found.read(page(), "", seconds=SECONDS)).text != f"pid {process.pid}"
        assert not process.is_running()


async def test_a_process_that_does_not_mind_signals_is_killed_all_the_same() -> None:
    with readers("Hanging") as found:
        with pytest.raises(ReadingTimeout):
            await found.read(page(), "", seconds=3)
        await until(lambda: not children())


async def test_a_caller_who_leaves_ends_the_reading() -> None:
    with readers("HangingOnLargePages") as found:
        await found.read(page(), "", seconds=SECONDS)
        (process,) = children()
        task = asyncio.create_task(found.read(page(600), "", seconds=SECONDS))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not process.is_running())


async def test_a_caller_who_leaves_the_queue_costs_nobody_a_process() -> None:
    with readers("Slow") as found:
        seated = [asyncio.create_task(found.read(page(), "", seconds=SECONDS)) for _ in range(2)]
        await until(lambda: len(children()) == 2)
        pids = {child.pid for child in children()}
        waiting = asyncio.create_task(found.read(page(), "", seconds=SECONDS))
        await asyncio.sleep(0)
        waiting.cancel()
        assert {(await task).text for task in seated} == {f"pid {pid}" for pid in pids}
        assert {child.pid for child in children()} == pids


async def test_callers_who_leave_the_queue_make_room_and_leave_no_bytes_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ReadJob] = []

    def job(*arguments: Any) -> ReadJob:
        made.append(ReadJob(*arguments))
        return made[-1]

    monkeypatch.setattr(pool, "ReadJob", job)
    with readers("Hanging") as found:
        being_read = [asyncio.create_task(found.read(page(), "", seconds=SECONDS)) for _ in range(2)]
        await until(lambda: len(children()) == 2)
        tasks = being_read + [asyncio.create_task(found.read(page(), "", seconds=SECONDS)) for _ in range(MAX_WAITING)]
        await until(lambda: len(made) == 2 + MAX_WAITING)
        waiting = made[2:]
        for task, one in zip(tasks, made, strict=True):
            if one in waiting:
                task.cancel()
        await until(lambda: all(one.answer.cancelled() for one in waiting))
        assert not any(one.data for one in waiting)
        for _ in range(2):  # as many may wait again, and no more
            others = [asyncio.create_task(found.read(page(), "", seconds=SECONDS)) for _ in range(MAX_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(ModelUnavailable, match="too many"):
                await found.read(page(), "", seconds=SECONDS)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        for task in being_read:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_process_that_dies_of_a_document_spoils_that_one_alone() -> None:
    with readers("Dying") as found:
        before = (await found.read(page(), "", seconds=SECONDS)).text
        answers = await asyncio.gather(
            *(found.read(page(width), "", seconds=SECONDS) for width in (600, 100, 600, 100)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [InvalidDocument, Document, InvalidDocument, Document]
        assert str(answers[0]) == "the document cannot be read"
        assert before not in {answer.text for answer in answers if isinstance(answer, Document)}


async def test_a_process_that_is_killed_from_outside_is_not_the_documents_fault() -> None:
    with readers("HangingOnLargePages") as found:
        task = asyncio.create_task(found.read(page(600), "", seconds=SECONDS))
        await until(children)
        await asyncio.sleep(0.5)
        os.kill(children()[0].pid, signal.SIGKILL)
        with pytest.raises(ModelUnavailable, match="try again"):
            await task
        assert await found.read(page(), "", seconds=SECONDS)


async def test_a_short_document_is_read_beside_sixteen_that_never_end_and_came_from_the_same_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "QUICK_SECONDS", 0.3)
    with readers("Burning") as found:
        await found.read(page(), "", seconds=SECONDS)
        heavy = [asyncio.create_task(found.read(page(600), "", seconds=SECONDS, caller="a")) for _ in range(16)]
        await until(lambda: len(children()) == 2)
        for _ in range(3):
            assert (await found.read(page(), "", seconds=SECONDS / 2, caller="a")).text
        assert not any(task.done() for task in heavy)
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)


async def test_another_caller_takes_the_seat_of_a_document_that_has_had_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.2)
    monkeypatch.setattr(turns, "QUICK_TRIES", 0)
    with readers("Burning") as found:
        heavy = [asyncio.create_task(found.read(page(600), "", seconds=SECONDS, caller="a")) for _ in range(4)]
        await until(children)
        assert (await found.read(page(), "", seconds=SECONDS / 2, caller="b")).text
        assert not any(task.done() for task in heavy)
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)


async def test_a_process_that_is_killed_while_idle_is_replaced() -> None:
    with readers("Sized") as found:
        await found.read(page(), "", seconds=SECONDS)
        (process,) = children()
        os.kill(process.pid, signal.SIGKILL)
        # It is a zombie before its last threads are gone, and can be waited for only after them.
        await until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) == 1)
        await until(lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert await found.read(page(), "", seconds=SECONDS)


async def test_a_document_that_takes_too_much_memory_is_refused() -> None:
    with readers("Greedy") as found, pytest.raises(InvalidDocument):
        await found.read(page(), "", seconds=SECONDS)


async def test_no_more_than_some_documents_wait_and_their_wait_counts() -> None:
    with readers("Hanging") as found:
        tasks = [asyncio.create_task(found.read(page(), "", seconds=3.0)) for _ in range(2)]
        await until(lambda: len(children()) == 2)
        tasks += [asyncio.create_task(found.read(page(), "", seconds=1.0)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(ModelUnavailable, match="too many"):
            await found.read(page(), "", seconds=SECONDS)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ReadingTimeout}


async def test_documents_are_read_beside_one_another() -> None:
    with readers("Dying", workers=2) as found:
        await asyncio.to_thread(found.warm)
        assert len(children()) == 2


async def test_warm_processes_have_loaded_ocr_and_are_replaced_by_warm_ones() -> None:
    with readers("Dying") as found:
        await asyncio.to_thread(found.warm)
        (process,) = children()
        assert (await found.read(page(), "", seconds=SECONDS)).text == f"pid {process.pid}"
        with pytest.raises(InvalidDocument):
            await found.read(page(600), "", seconds=SECONDS)
        await until(lambda: [child.pid for child in children()] not in ([], [process.pid]))


async def test_closing_answers_those_who_wait_and_leaves_no_process() -> None:
    with readers("Hanging") as found:
        tasks = [asyncio.create_task(found.read(page(), "", seconds=SECONDS)) for _ in range(3)]
        await until(children)
        await asyncio.to_thread(found.close)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ModelUnavailable}
        assert not children()
        with pytest.raises(ModelUnavailable):
            await found.read(page(), "", seconds=SECONDS)


SERVER = """
import asyncio, sys, psutil
from runners.documents.pool.pool import ReaderPool
from tests.runners.documents.pool.test_pool import page
async def main():
    readers = ReaderPool(1, ocr="tests.doubles.documents_doubles:HangingOnLargePages")
    await readers.read(page(), "", seconds=60)
    task = asyncio.create_task(readers.read(page(600), "", seconds=60)) if sys.argv[1] == "busy" else None
    await asyncio.sleep(0.3)
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
async def test_a_server_that_is_killed_takes_its_processes_with_it(state: str) -> None:
    command = [sys.executable, "-c", SERVER, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as server:  # noqa: ASYNC220
        assert server.stdout
        process = psutil.Process(int(server.stdout.readline()))
        server.kill()
    await until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


async def test_nothing_of_a_document_is_ever_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with readers("Writing") as found:
        for data in (word("One."), scanned_pdf(written("two"))):
            with suppress(InvalidDocument):
                await found.read(data, "", seconds=SECONDS)
        with pytest.raises(InvalidDocument):  # the process may write to no file
            await found.read(page(), "", seconds=SECONDS)
    assert not os.listdir(tmp_path)
