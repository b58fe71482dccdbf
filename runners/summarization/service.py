"""Document summarization: texts, files and pictures of pages, by the engine that settings and machine allow."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import bentoml

from runners.artifacts.store import SUMMARIZATION
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ItemError
from runners.errors import InvalidInput, RunnerError, told
from runners.http.requests import decode_base64
from runners.serving import metrics
from runners.serving.batching import Batcher
from runners.serving.ipc import Call
from runners.serving.mounted import Mounted, Prepare
from runners.serving.proxies import ASK, about_of, dependency, dependency_about, infer_of, own
from runners.serving.service import SPARE_SECONDS, model_configuration, threads
from runners.settings import settings
from runners.summarization.model import SHAPES, SummarizationModel
from runners.summarization.requests import options_of
from runners.summarization.routes import EXAMPLE, EXAMPLE_INPUT, summary_router
from web.edge.caller import caller
from web.edge.disconnect import while_awaited

if TYPE_CHECKING:
    from runners.documents.document import Document
    from runners.models.summarizers.base import Summarizer

logger = logging.getLogger("bentoml.atelier")


def mounted(name: str | None = None) -> Mounted:
    """The model of this process, or the one that this process's service depends on under the attribute ``name``."""

    def api(one: str) -> Call:
        return own(one) if name is None else dependency(name, one)

    prepare, facts = preparing(api("read")), about_of(api("about"))
    about = facts if name is None else dependency_about(name, facts)
    infer = infer_of(api(ASK), settings().document_seconds + SPARE_SECONDS / 2)
    return Mounted(infer, about, summary_router(prepare, about), EXAMPLE, EXAMPLE_INPUT, prepare)


def preparing(read: Call) -> Prepare:
    """Turns a document into what goes into a batch, in the model's process but outside its batches."""

    async def prepare(item: InferenceRequest) -> InferenceRequest:
        if not item.input_data.keys() & {"file", "image"}:
            return item
        (result,) = await read(requests=[item])
        if result.error is not None:
            raise told(result.error.code, result.error.message)
        return item.model_copy(update={"input_data": result.output_data})

    return prepare


def _summarizer() -> Summarizer:
    from runners.models.summarizers.choice import choose

    return choose(
        settings().summarizer,
        settings().checkpoint,
        extractive=_extractive,
        trust_remote_code=settings().trust_remote_code,
        precision=settings().precision,
        threads=threads(),
        font=settings().font,
    )


def _extractive() -> Summarizer:
    from runners.artifacts import store
    from runners.models.summarizers import ranker
    from runners.models.summarizers.extractive import Extractive

    return Extractive(ranker.read(store.path(SUMMARIZATION)), SUMMARIZATION)


def payload(request: InferenceRequest) -> tuple[bytes, str]:
    """The document's bytes and name. Raises InvalidInput."""
    data = request.input_data
    found = data.keys() & {"file", "image"}
    if len(found) != 1 or not data.keys() <= found | {"filename"}:
        raise InvalidInput(f"an item's input_data is {SHAPES}")
    name = data.get("filename", "")
    if not isinstance(name, str):
        raise InvalidInput("filename must be a string")
    kind = found.pop()
    return data[kind] if isinstance(data[kind], bytes) else decode_base64(data[kind], kind), name


def _as_input(document: Document) -> dict[str, Any]:
    """What ``infer`` is given of a document."""
    images = [b64encode(page).decode() for page in document.images]
    parts = {"text": document.text, "title": document.title, "images": images, "pages": document.pages}
    return {name: value for name, value in parts.items() if value}


async def _together(work: Iterable[Awaitable[InferenceResult]]) -> list[InferenceResult]:
    return list(await asyncio.gather(*work))


@bentoml.service(**model_configuration("summarization"))
class Summarization:
    """Document summarization on its own."""

    def __init__(self) -> None:
        from runners.documents.pool.pool import Readers
        from runners.models.summarizers.warming import warm

        self._model = SummarizationModel(_summarizer())
        self._batches = Batcher(self._model.infer, MAX_ITEMS, partial(metrics.batch, "Summarization"))
        self._long = Batcher(self._model.infer, 1, partial(metrics.batch, "Summarization"))
        self._readers = Readers(settings().readers or None)
        self._readers.warm()
        warm(self._model.summarizer)
        logger.warning("summarizing with the engine %(engine)s: %(model)s", self._model.about())

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=600_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Summarizes a batch: each item's input_data is {"text": text}, its parameters max_length and temperature."""
        return self._model.infer(requests)

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Summaries of texts of any length, which go through the batches in parts."""
        seconds = settings().document_seconds
        each = (self._model.whole(request, self._batches, seconds, self._long) for request in requests)
        return list(await while_awaited(_together(each)))

    async def read(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Reads documents; the output_data of each is an input_data of ``infer``."""
        return list(await while_awaited(_together(map(self._answer, requests))))

    async def about(self) -> dict[str, Any]:
        """Which engine serves, with which weights."""
        return self._model.about()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Ends the reading processes."""
        self._readers.close()

    async def _answer(self, request: InferenceRequest) -> InferenceResult:
        try:
            return InferenceResult(output_data=await asyncio.to_thread(_as_input, await self._read(request)))
        except RunnerError as error:
            return InferenceResult(error=ItemError.of(error))

    async def _read(self, request: InferenceRequest) -> Document:
        options_of(request.parameters)  # what is wrong with them is said before the long work
        data, name = await asyncio.to_thread(payload, request)
        return await self._readers.read(
            data,
            name,
            seconds=settings().document_seconds,
            as_pictures=self._model.summarizer.reads_pictures,
            pictures_only="image" in request.input_data,
            caller=caller.get(),
        )
