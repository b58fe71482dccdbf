"""The summarizer that was chosen, behind the model contract: texts or page pictures in, summaries out."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from runners.contract import Infer, InferenceRequest, InferenceResult, ItemError, answer_each, only
from runners.errors import InvalidInput, ModelTimeout, RunnerError
from runners.http.requests import decode_base64
from runners.summarization import parts
from runners.summarization.requests import PARAMETERS, checked_text, options_of

if TYPE_CHECKING:
    from runners.models.summarizers.base import Summarizer, Task

TEXT_INPUT: Final = frozenset({"text", "title", "language", "images", "pages"})
LONG_TEXT: Final = 50_000
"""Characters; one such text at a time is in a batch, so that ten do not make one that takes ten times as long."""
LANGUAGE: Final = re.compile(r"[a-z]{2,3}\Z")
SHAPES: Final = '{"text": text}, {"image": base64}, {"url": text} or {"file": base64, "filename": text}'


class SummarizationModel:
    """Answers batches with one engine; ``images`` of an item are the pages of its document, as base64."""

    def __init__(self, summarizer: Summarizer) -> None:
        self.summarizer = summarizer
        self._one_long = asyncio.Semaphore(1)

    def about(self) -> dict[str, Any]:
        """Which engine serves, with which weights."""
        return {"engine": self.summarizer.engine, "model": self.summarizer.model}

    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """A batch: summaries in the order of the requests; one that cannot be summarized gets an error."""
        return answer_each([self._prepared(request) for request in requests], self._summarize)

    async def whole(
        self, request: InferenceRequest, infer: Infer, seconds: float, long: Infer | None = None
    ) -> InferenceResult:
        """One request of any length, in parts through ``infer``, the batched way to this model.

        Long texts go through ``long``, so that short ones do not wait for them, where the engine allows that.
        """
        try:
            async with asyncio.timeout(seconds):
                task = await asyncio.to_thread(self._task, request)
                is_long = len(task.text) > LONG_TEXT
                way = long if long is not None and is_long and self.summarizer.beside_others else infer
                async with self._one_long if is_long else nullcontext():
                    summary = await parts.summary(self.summarizer, task, way)
                return self._result(task, summary, request)
        except RunnerError as error:
            return InferenceResult(error=ItemError.of(error))
        except TimeoutError:
            return InferenceResult(error=ItemError.of(ModelTimeout("The request took too long")))

    def _task(self, request: InferenceRequest) -> Task:
        if request.input_data.get("images") and not self.summarizer.reads_pictures:
            raise InvalidInput(f"an item's input_data is {SHAPES}")
        return task_of(request)

    def _prepared(self, request: InferenceRequest) -> tuple[Task, InferenceRequest] | RunnerError:
        try:
            return self._task(request), request
        except RunnerError as error:
            return error

    def _summarize(self, asked: list[tuple[Task, InferenceRequest]]) -> list[InferenceResult]:
        summaries = self.summarizer.summarize([task for task, _ in asked])
        return [self._result(task, summary, request) for (task, request), summary in zip(asked, summaries, strict=True)]

    def _result(self, task: Task, summary: str | RunnerError, request: InferenceRequest) -> InferenceResult:
        if isinstance(summary, RunnerError):
            return InferenceResult(error=ItemError.of(summary))
        pages = request.input_data.get("pages")
        return InferenceResult(
            output_data={**self._output(task, summary), **({} if pages is None else {"pages": pages})}
        )

    def _output(self, task: Task, summary: str) -> dict[str, Any]:
        original = len(task.text)
        return {
            "summary": summary,
            "original_length": original,
            "summary_length": len(summary),
            "compression_ratio": ratio(original, len(summary)),
            **self.about(),
            "language": task.language,
            **({"ignored_parameters": list(self.summarizer.ignores)} if self.summarizer.ignores else {}),
        }


def ratio(original: int, summary: int) -> float:
    """How many times shorter a summary is, to two places; 0 where there is none."""
    return round(original / summary, 2) if summary else 0


def task_of(request: InferenceRequest) -> Task:
    """What an engine is asked. Raises InvalidInput, and PayloadTooLarge."""
    from runners.models.summarizers.base import Task
    from runners.models.text.language import detect

    data = request.input_data
    only(request.parameters, PARAMETERS)
    if not data.keys() <= TEXT_INPUT or not data.keys() & {"text", "images"}:
        raise InvalidInput(f"an item's input_data is {SHAPES}")
    options = options_of(request.parameters)
    images = tuple(decode_base64(page) for page in _list(data.get("images", [])))
    text = "" if images and "text" not in data else checked_text(data.get("text"))
    _check_pages(data.get("pages"))
    language = _language(data.get("language")) or detect(text)
    return Task(text, options.max_length, options.temperature, language, _title(data.get("title")), images)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput("images must be a list")
    return value


def _language(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and LANGUAGE.match(value)):
        raise InvalidInput("language must be an ISO 639-1 code")
    return value


def _check_pages(value: object) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidInput("pages must be a whole number from 1 on")


def _title(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidInput("title must be a string")
    return value
