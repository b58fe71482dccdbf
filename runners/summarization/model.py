"""The configured summarizer behind the model contract: texts, page pictures and documents in, summaries out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from runners.contract import InferenceRequest, InferenceResult, ItemError, answer_each
from runners.errors import InvalidInput, ModelTimeout, RunnerError
from runners.summarization import items, parts
from runners.summarization.items import SHAPES, DocumentSource
from runners.summarization.parts import Batches, Outcome
from web.edge.caller import caller

if TYPE_CHECKING:
    from runners.documents.document import Document
    from runners.models.summarizers.base import Summarizer

LONG_TEXT_CHARACTERS: Final = 50_000
"""Characters from which a text is long. One long text is processed at a time, so that ten do not slow a batch down."""
CONCURRENT_READS: Final = 2
"""Documents of one call that are read or queued concurrently: reading is slow, and other clients also need it."""


class DocumentReader(Protocol):
    """Reads the bytes of a file into a document."""

    async def read(  # noqa: PLR0913 - the document, its options and the client
        self,
        data: bytes,
        filename: str,
        *,
        seconds: float,
        as_pictures: bool = False,
        pictures_only: bool = False,
        caller: str = "",
    ) -> Document:
        """Return the document within ``seconds``. Raises RunnerError."""


class SummarizationModel:
    """Summarizes with one engine: short texts go through ``batches``, long ones through ``long_batches``.

    Only an engine that runs in several threads at once has ``long_batches``; then no short text waits for a long one.
    """

    def __init__(
        self, summarizer: Summarizer, reader: DocumentReader, batches: Batches, long_batches: Batches | None = None
    ) -> None:
        self._summarizer, self._reader = summarizer, reader
        self._batches, self._long_batches = batches, long_batches or batches
        self._one_long = asyncio.Semaphore(1)

    def info(self) -> dict[str, Any]:
        """Return the engine's name and its model."""
        return {"engine": self._summarizer.engine, "model": self._summarizer.model}

    def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Summarize a batch of texts, in order; a text that cannot be summarized gets an error."""
        return answer_each([self._checked(request) for request in requests], self._summarize)

    async def answer(self, requests: Sequence[InferenceRequest], seconds: float) -> list[InferenceResult]:
        """Summarize texts and documents of any length, in order, within ``seconds``; an item that fails gets an error.

        Documents are read outside the batches, and long texts go through the batches in parts.
        """
        room = asyncio.Semaphore(CONCURRENT_READS)
        return list(await asyncio.gather(*(self._answer(request, seconds, room) for request in requests)))

    async def _answer(self, request: InferenceRequest, seconds: float, room: asyncio.Semaphore) -> InferenceResult:
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            document = await self._read(request, deadline, room) if items.is_file(request) else None
            async with asyncio.timeout_at(deadline):
                source = await asyncio.to_thread(self._source, request, document)
                return self._result(source, await self._summary(source))
        except RunnerError as error:
            return InferenceResult(error=ItemError.of(error))
        except TimeoutError:
            return InferenceResult(error=ItemError.of(ModelTimeout("The request took too long")))

    async def _read(self, request: InferenceRequest, deadline: float, room: asyncio.Semaphore) -> Document:
        items.checked_options(request)  # report invalid options before the long work
        async with room:
            data, filename = await asyncio.to_thread(items.payload, request)
            return await self._reader.read(
                data,
                filename,
                seconds=deadline - asyncio.get_running_loop().time(),
                as_pictures=self._summarizer.reads_pictures,
                pictures_only="image" in request.input_data,
                caller=caller.get(),
            )

    async def _summary(self, source: DocumentSource) -> Outcome:
        is_long = len(source.task.text) > LONG_TEXT_CHARACTERS
        async with self._one_long if is_long else nullcontext():
            batches = self._long_batches if is_long else self._batches
            return await parts.summary(self._summarizer, source.task, batches)

    def _source(self, request: InferenceRequest, document: Document | None = None) -> DocumentSource:
        if document is not None:
            return items.of_document(request, document)
        if request.input_data.get("images") and not self._summarizer.reads_pictures:
            raise InvalidInput(f"an item's input_data is {SHAPES}")
        return items.of_text(request)

    def _checked(self, request: InferenceRequest) -> DocumentSource | RunnerError:
        try:
            return self._source(request)
        except RunnerError as error:
            return error

    def _summarize(self, sources: list[DocumentSource]) -> list[InferenceResult]:
        summaries = self._summarizer.summarize([source.task for source in sources])
        return [self._result(source, summary) for source, summary in zip(sources, summaries, strict=True)]

    def _result(self, source: DocumentSource, summary: Outcome) -> InferenceResult:
        if isinstance(summary, RunnerError):
            return InferenceResult(error=ItemError.of(summary))
        original, ignored = len(source.task.text), self._summarizer.ignored_parameters
        output = {
            "summary": summary,
            "original_length": original,
            "summary_length": len(summary),
            "compression_ratio": ratio(original, len(summary)),
            **self.info(),
            "language": source.task.language,
            **({"ignored_parameters": list(ignored)} if ignored else {}),
            **({} if source.pages is None else {"pages": source.pages}),
        }
        return InferenceResult(output_data=output)


def ratio(original: int, summary: int) -> float:
    """Return how many times shorter the summary is, rounded to two places; 0 for an empty summary."""
    return round(original / summary, 2) if summary else 0
