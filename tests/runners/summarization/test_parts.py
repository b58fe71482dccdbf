"""Long texts through the batcher in parts: the same summaries, nobody held up, errors in their place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from runners.contract import InferenceRequest, InferenceResult, ItemError
from runners.errors import InvalidInput, ModelUnavailable, PayloadTooLarge, RunnerError
from runners.models.summarizers import passes
from runners.models.summarizers.base import Summarizer, Task
from runners.serving import batching
from runners.summarization.model import LONG_TEXT, SummarizationModel, task_of
from runners.summarization.parts import IN_FLIGHT, request_of, summary


class Halving(Summarizer):
    """Its input has eight words; a summary is every other one of them. "bad" fails, and "stuck" gets no shorter."""

    engine = "halving"
    model = "double"

    def split(self, task: Task) -> list[Task]:
        words = task.text.split()
        if len(words) <= 8:
            return [task]
        return [replace(task, text=" ".join(words[start : start + 8])) for start in range(0, len(words), 8)]

    def joined(self, task: Task, said: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        return passes.joined(task, said, lambda text: len(text.split()))

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        return passes.summarize(tasks, self.split, lambda parts: [_halved(part) for part in parts], _words)


def _words(text: str) -> int:
    return len(text.split())


def _halved(task: Task) -> str | RunnerError:
    if "bad" in task.text:
        return InvalidInput("it is bad")
    return task.text if "stuck" in task.text else " ".join(task.text.split()[::2])


class Batcher:
    """Answers like the model's batched way, and counts how many requests wait at a time."""

    def __init__(self, model: SummarizationModel) -> None:
        self.model = model
        self.waiting = self.most = self.calls = 0

    async def __call__(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        self.calls += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        return self.model.infer(list(requests))


def task(words: int, word: str = "w", most: int = 4) -> Task:
    return Task(" ".join(f"{word}{number}" for number in range(words)), most, 0.0, "en")


@pytest.mark.parametrize("words", [1, 8, 9, 64, 500])
async def test_a_text_in_parts_has_the_summary_that_it_has_at_once(words: int) -> None:
    engine = Halving()
    batcher = Batcher(SummarizationModel(engine))
    assert [await summary(engine, task(words), batcher)] == engine.summarize([task(words)])


async def test_few_parts_of_a_text_wait_at_a_time() -> None:
    batcher = Batcher(SummarizationModel(Halving()))
    await summary(Halving(), task(4000), batcher)
    assert batcher.most == IN_FLIGHT
    assert batcher.calls > 500


async def test_a_part_that_fails_is_the_texts_error() -> None:
    engine = Halving()
    batcher = Batcher(SummarizationModel(engine))
    with pytest.raises(InvalidInput):
        await summary(engine, task(4000, "bad"), batcher)
    assert batcher.calls <= 2 * IN_FLIGHT


async def test_a_text_that_gets_no_shorter_is_given_up() -> None:
    engine = Halving()
    outcome = await summary(engine, task(64, "stuck"), Batcher(SummarizationModel(engine)))
    assert isinstance(outcome, PayloadTooLarge)


async def test_a_batcher_that_is_gone_is_nobodys_summary() -> None:
    async def gone(requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        return [InferenceResult(error=ItemError(code="MODEL_UNAVAILABLE", message="gone", status=503))]

    with pytest.raises(ModelUnavailable):
        await summary(Halving(), task(64), gone)


async def test_one_long_text_at_a_time_is_in_a_batch() -> None:
    class Whole(Halving):
        def split(self, task: Task) -> list[Task]:
            return [task]

        def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
            return ["said"] * len(tasks)

    model = SummarizationModel(Whole())
    batcher = Batcher(model)
    long = InferenceRequest(input_data={"text": "w " * 30_000, "language": "en"})
    await asyncio.gather(*(model.whole(long, batcher, 60) for _ in range(5)))
    assert (batcher.calls, batcher.most) == (5, 1)


async def test_the_answer_speaks_of_the_whole_text() -> None:
    model = SummarizationModel(Halving())
    asked = request_of(task(100))
    result = await model.whole(asked, Batcher(model), 60)
    assert result.output_data is not None
    assert result.output_data["original_length"] == len(asked.input_data["text"])
    assert (result.output_data["engine"], result.output_data["language"]) == ("halving", "en")


async def test_a_text_that_takes_too_long_harms_no_neighbour() -> None:
    model = SummarizationModel(Halving())
    batcher = Batcher(model)

    async def slow(requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        await asyncio.Event().wait()
        return []

    late, other = await asyncio.gather(
        model.whole(request_of(task(9)), slow, 0.05), model.whole(request_of(task(9)), batcher, 60)
    )
    assert late.error is not None
    assert (late.error.status, late.error.code) == (504, "TIMEOUT")
    assert other.error is None


@pytest.mark.parametrize("data", [{"images": ["AAAA"]}, {"text": "a", "pages": "many"}, {"text": "a", "pages": 0}])
def test_what_only_another_engine_or_nobody_sends_is_refused(data: dict[str, object]) -> None:
    (result,) = SummarizationModel(Halving()).infer([InferenceRequest(input_data=data)])
    assert result.error is not None
    assert result.error.status == 400


def test_a_task_travels_as_it_is() -> None:
    whole = Task("some text", 7, 0.5, "fr", "a title", (b"page one", b"page two"))
    assert task_of(request_of(whole)) == whole
    assert task_of(request_of(Task("some text", 7, 0.5, "und"))) == Task("some text", 7, 0.5, "und")


@pytest.mark.parametrize("language", ["FR", "french", 7, "f\n"])
def test_a_language_is_a_code(language: object) -> None:
    with pytest.raises(InvalidInput):
        task_of(InferenceRequest(input_data={"text": "a", "language": language}))


class Waiting(Summarizer):
    """Summarizes a short text at once, and a long one when it is let."""

    engine = "waiting"
    model = "double"
    beside_others = True

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        if any(len(task.text) > LONG_TEXT for task in tasks):
            self.has_begun.set()
            assert self.may_end.wait(30)
        return ["said"] * len(tasks)


async def test_a_short_text_does_not_wait_for_a_long_one() -> None:
    engine = Waiting()
    model = SummarizationModel(engine)
    batches, long = batching.Batcher(model.infer, 32), batching.Batcher(model.infer, 1)

    def asked(text: str) -> asyncio.Task[InferenceResult]:
        return asyncio.create_task(model.whole(InferenceRequest(input_data={"text": text}), batches, 30, long))

    first = asked("A" * (LONG_TEXT + 1))
    try:
        await asyncio.to_thread(engine.has_begun.wait, 30)
        second = await asyncio.wait_for(asked("Short."), 20)
        assert second.output_data is not None
        assert not first.done()
    finally:
        engine.may_end.set()
    assert (await first).output_data is not None
