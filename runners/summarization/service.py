"""Document summarization: texts, files and pictures of pages, with the engine that the settings choose."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import bentoml

from runners.artifacts.store import SUMMARIZATION
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult
from runners.serving import metrics
from runners.serving.batching import Batcher
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import SPARE_SECONDS, model_configuration, threads
from runners.settings import settings
from runners.summarization.model import SummarizationModel
from runners.summarization.routes import EXAMPLE, EXAMPLE_INPUT, router
from web.edge.disconnect import while_awaited

if TYPE_CHECKING:
    from runners.models.summarizers.base import Summarizer

logger = logging.getLogger("bentoml.atelier")


def mounted(name: str | None = None) -> MountedModel:
    """Return the model of this process, or of the dependency ``name`` of this process's service."""
    seconds = settings().document_seconds + SPARE_SECONDS / 2
    return MountedModel(model_under(name, seconds, has_info=True), router, EXAMPLE, EXAMPLE_INPUT)


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


@bentoml.service(**model_configuration("summarization"))
class Summarization:
    """The BentoML service of document summarization."""

    def __init__(self) -> None:
        from runners.documents.pool.pool import ReaderPool
        from runners.models.summarizers.warming import warm

        summarizer, observe = _summarizer(), partial(metrics.batch, "Summarization")
        batches = Batcher(summarizer.summarize, MAX_ITEMS, observe)
        long_batches = Batcher(summarizer.summarize, 1, observe) if summarizer.thread_safe else None
        self._readers = ReaderPool(settings().readers or None)
        self._readers.warm()
        self._model = SummarizationModel(summarizer, self._readers, batches, long_batches)
        warm(summarizer)
        logger.warning("summarizing with the engine %(engine)s: %(model)s", self._model.info())

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=600_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Summarize a batch: each item's input_data is {"text": text}, its parameters max_length and temperature."""
        return self._model.infer(requests)

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Summarize texts and documents of any length; cancel the work when the client disconnects."""
        return await while_awaited(self._model.answer(requests, settings().document_seconds))

    async def info(self) -> dict[str, Any]:
        """Return the engine's name and its model."""
        return self._model.info()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Stop the reader processes."""
        self._readers.close()
