"""Long texts go through the batcher in parts, and documents are read beside it: nobody held up, errors in place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from runners.contract import InferenceRequest, InferenceResult
from runners.documents.document import Document
from runners.errors import InvalidInput, ModelUnavailable, PayloadTooLarge, ReadingTimeout, RunnerError
from runners.models.summarizers import passes
from runners.models.summarizers.base import Summarizer, Task
from runners.serving import batching
from runners.summarization.items import of_text
from runners.summarization.model import CONCURRENT_READS, LONG_TEXT_CHARACTERS, SummarizationModel
from runners.summarization.parts import PARTS_IN_FLIGHT, summary
from web.edge.caller import caller


class Halving(Summarizer):
    """Its input has eight words; a summary is every other one of them. "bad" fails, and "stuck" gets no shorter."""

    engine = "halving"
    model = "double"

    def split(self, task: Task) -> list[Task]:
        words = task.text.split()
        if len(words) <= 8:
            return [task]
        return [replace(task, text=" ".join(words[start : start + 8])) for start in range(0, len(words), 8)]

    def join(self, task: Task, outcomes: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        return passes.join(task, outcomes, lambda text: len(text.split()))

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        return passes.summarize(tasks, self.split, lambda parts: [_halved(part) for part in parts], _words)


def _words(text: str) -> int:
    return len(text.split())


def _halved(task: Task) -> str | RunnerError:
    if "bad" in task.text:
        return InvalidInput("it is bad")
    return task.text if "stuck" in task.text else " ".join(task.text.split()[::2])


class Batches:
    """Answers like a batcher over the engine, and counts how many tasks wait at a time."""

    def __init__(self, engine: Summarizer) -> None:
        self.engine = engine
        self.waiting = self.most = self.calls = 0

    async def __call__(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        self.calls += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        return self.engine.summarize(tasks)


class Reader:
    """Reads bytes as text, and remembers how it was called; while it is held, nothing comes of it."""

    def __init__(self, *, images: tuple[bytes, ...] = ()) -> None:
        self.images, self.calls = images, list[dict[str, Any]]()
        self.reading = self.most = self.cancelled = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def read(self, data: bytes, filename: str, **options: Any) -> Document:
        self.calls.append({"filename": filename, **options})
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            async with asyncio.timeout(options["seconds"]):
                await self.may_end.wait()
        except TimeoutError:
            raise ReadingTimeout("the document takes too long to read") from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.reading -= 1
        return Document("" if self.images else data.decode(), 3, "A title", self.images)


class Keeping(Halving):
    """Reads pictures, and keeps the tasks that it is given."""

    reads_pictures = True

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        self.tasks += tasks
        return ["said"] * len(tasks)


def model_of(engine: Summarizer, reader: Reader | None = None, batches: Batches | None = None) -> SummarizationModel:
    return SummarizationModel(engine, reader or Reader(), batches or Batches(engine))


def task(words: int, word: str = "w", most: int = 4) -> Task:
    return Task(" ".join(f"{word}{number}" for number in range(words)), most, 0.0, "en")


def text_of(task: Task) -> InferenceRequest:
    return InferenceRequest(
        input_data={"text": task.text, "language": task.language}, parameters={"max_length": task.max_length}
    )


def file_of(data: object, kind: str = "file", **parameters: Any) -> InferenceRequest:
    return InferenceRequest(input_data={kind: data, "filename": "a.txt"}, parameters=parameters)


async def until(holds: Callable[[], object]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


@pytest.mark.parametrize("words", [1, 8, 9, 64, 500])
async def test_a_text_in_parts_has_the_summary_that_it_has_at_once(words: int) -> None:
    engine = Halving()
    assert [await summary(engine, task(words), Batches(engine))] == engine.summarize([task(words)])


async def test_few_parts_of_a_text_wait_at_a_time() -> None:
    batches = Batches(Halving())
    await summary(Halving(), task(4000), batches)
    assert batches.most == PARTS_IN_FLIGHT
    assert batches.calls > 500


async def test_a_part_that_fails_is_the_texts_error() -> None:
    engine = Halving()
    batches = Batches(engine)
    with pytest.raises(InvalidInput):
        await summary(engine, task(4000, "bad"), batches)
    assert batches.calls <= 2 * PARTS_IN_FLIGHT


async def test_a_text_that_gets_no_shorter_is_given_up() -> None:
    engine = Halving()
    outcome = await summary(engine, task(64, "stuck"), Batches(engine))
    assert isinstance(outcome, PayloadTooLarge)


async def test_an_error_in_place_of_a_summary_is_the_texts_error() -> None:
    async def gone(tasks: Sequence[Task]) -> list[str | RunnerError]:
        return [ModelUnavailable("gone")]

    with pytest.raises(ModelUnavailable):
        await summary(Halving(), task(64), gone)


async def test_one_long_text_at_a_time_is_in_a_batch() -> None:
    class Whole(Halving):
        def split(self, task: Task) -> list[Task]:
            return [task]

        def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
            return ["said"] * len(tasks)

    batches = Batches(Whole())
    model = model_of(Whole(), batches=batches)
    long = InferenceRequest(input_data={"text": "w " * 30_000, "language": "en"})
    await model.answer([long] * 5, 60)
    assert (batches.calls, batches.most) == (5, 1)


async def test_the_answer_speaks_of_the_whole_text() -> None:
    (result,) = await model_of(Halving()).answer([text_of(task(100))], 60)
    output = result.output()
    assert output["original_length"] == len(task(100).text)
    assert (output["engine"], output["language"]) == ("halving", "en")


async def test_a_text_that_takes_too_long_harms_no_neighbour() -> None:
    class Stuck(Batches):
        async def __call__(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
            if "late0" in tasks[0].text:
                await asyncio.Event().wait()
            return await super().__call__(tasks)

    model = model_of(Halving(), batches=Stuck(Halving()))
    late, other = await model.answer([text_of(task(8, "late")), text_of(task(8))], 0.5)
    assert late.error is not None
    assert (late.error.status, late.error.code) == (504, "TIMEOUT")
    assert other.error is None


@pytest.mark.parametrize("data", [{"images": ["AAAA"]}, {"text": "a", "pages": "many"}, {"text": "a", "pages": 0}])
def test_what_only_another_engine_or_nobody_sends_is_refused(data: dict[str, object]) -> None:
    (result,) = model_of(Halving()).infer([InferenceRequest(input_data=data)])
    assert result.error is not None
    assert result.error.status == 400


async def test_every_field_of_an_item_reaches_the_engine() -> None:
    pages = ["AAAA", b"page two"]
    data = {"text": "some text", "title": "a title", "language": "fr", "images": pages, "pages": 2}
    parameters = {"max_length": 7, "temperature": 0.5}
    engine = Keeping()
    request = InferenceRequest(input_data=data, parameters=parameters)
    for results in (await model_of(engine).answer([request], 60), model_of(engine).infer([request])):
        assert results[0].output()["pages"] == 2
    assert engine.tasks == [Task("some text", 7, 0.5, "fr", "a title", (bytes(3), b"page two"))] * 2


@pytest.mark.parametrize("language", ["FR", "french", 7, "f\n"])
def test_a_language_is_a_code(language: object) -> None:
    with pytest.raises(InvalidInput):
        of_text(InferenceRequest(input_data={"text": "a", "language": language}))


async def test_a_document_is_read_for_its_caller_and_its_pictures_reach_the_engine_as_bytes() -> None:
    engine, reader = Keeping(), Reader(images=(b"page one", b"page two"))
    caller.set("somebody")
    (result,) = await model_of(engine, reader).answer([file_of(b"scan", "image", max_length=7)], 60)
    assert result.output()["pages"] == 3
    assert engine.tasks == [Task("", 7, 0.7, "und", "A title", (b"page one", b"page two"))]
    (call,) = reader.calls
    assert 59 < call.pop("seconds") <= 60
    assert call == {"filename": "a.txt", "as_pictures": True, "pictures_only": True, "caller": "somebody"}


async def test_a_language_is_detected_once_for_a_text_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def detect(text: str) -> str:
        texts.append(text)
        return "xx"

    monkeypatch.setattr("runners.models.text.language.detect", detect)
    whole = task(500).text
    (result,) = await model_of(Halving()).answer([file_of(whole.encode())], 60)
    assert result.output()["language"] == "xx"
    assert texts == [whole]


@pytest.mark.parametrize("parameters", [{"max_length": 0}, {"no_such": 1}])
async def test_wrong_options_are_said_before_a_document_is_read(parameters: dict[str, Any]) -> None:
    reader = Reader()
    (result,) = await model_of(Halving(), reader).answer([file_of(b"a", **parameters)], 60)
    assert result.error is not None
    assert (result.error.status, reader.calls) == (400, [])


async def test_few_documents_of_a_call_are_read_at_a_time_and_texts_do_not_wait_for_them() -> None:
    reader = Reader()
    reader.may_end.clear()
    batches = Batches(Halving())
    model = model_of(Halving(), reader, batches)
    answers = asyncio.ensure_future(model.answer([*[file_of(b"a text")] * 7, text_of(task(3))], 60))
    await until(lambda: batches.calls)
    assert reader.reading == CONCURRENT_READS
    reader.may_end.set()
    assert all(result.error is None for result in await answers)
    assert (len(reader.calls), reader.most) == (7, CONCURRENT_READS)


async def test_one_deadline_is_for_reading_and_summarizing_and_says_which_was_late() -> None:
    held, batches = Reader(), Batches(Halving())
    held.may_end.clear()
    results = await model_of(Halving(), held, batches).answer([file_of(b"a")] * 3, 0.2)
    errors = [result.error and (result.error.status, result.error.code) for result in results]
    assert errors == [(504, "READING_TIMEOUT")] * 3
    assert batches.calls == 0

    async def never(tasks: Sequence[Task]) -> list[str | RunnerError]:
        await asyncio.Event().wait()
        return []

    (result,) = await SummarizationModel(Halving(), Reader(), never).answer([file_of(b"a")], 0.2)
    assert result.error is not None
    assert (result.error.status, result.error.code) == (504, "TIMEOUT")


async def test_a_caller_who_leaves_ends_the_reading() -> None:
    reader = Reader()
    reader.may_end.clear()
    answers = asyncio.ensure_future(model_of(Halving(), reader).answer([file_of(b"a")] * 5, 60))
    await until(lambda: reader.reading == CONCURRENT_READS)
    answers.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answers
    await until(lambda: not reader.reading)
    assert (reader.cancelled, len(reader.calls)) == (CONCURRENT_READS, CONCURRENT_READS)


class Waiting(Summarizer):
    """Summarizes a short text at once, and a long one when it is let."""

    engine = "waiting"
    model = "double"
    thread_safe = True

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        if any(len(task.text) > LONG_TEXT_CHARACTERS for task in tasks):
            self.has_begun.set()
            assert self.may_end.wait(30)
        return ["said"] * len(tasks)


async def test_a_short_text_does_not_wait_for_a_long_one() -> None:
    engine = Waiting()
    batches, long_batches = batching.Batcher(engine.summarize, 32), batching.Batcher(engine.summarize, 1)
    model = SummarizationModel(engine, Reader(), batches, long_batches)

    def answered(text: str) -> asyncio.Task[list[InferenceResult]]:
        return asyncio.create_task(model.answer([InferenceRequest(input_data={"text": text})], 30))

    first = answered("A" * (LONG_TEXT_CHARACTERS + 1))
    try:
        await asyncio.to_thread(engine.has_begun.wait, 30)
        (second,) = await asyncio.wait_for(answered("Short."), 20)
        assert second.output_data is not None
        assert not first.done()
    finally:
        engine.may_end.set()
    assert (await first)[0].output_data is not None
