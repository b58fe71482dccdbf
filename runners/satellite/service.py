"""Satellite image classification: forest, sea, desert or clouds, or none of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import bentoml
import numpy as np
from fastapi import APIRouter, Request

from runners.artifacts.store import SATELLITE
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ModelProxy, infer_each, only
from runners.errors import InvalidInput
from runners.http import openapi
from runners.http.requests import many_images, one_image
from runners.http.responses import batch_response
from runners.images.pipeline import ImagePipeline
from runners.models.vision.outputs import softmax
from runners.models.vision.satellite import LABELS, NO_SCENE, Language, Verdict, judge
from runners.satellite.content import is_empty
from runners.serving import metrics
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import model_configuration
from web.answers import JSONAnswer
from web.download.client import Downloader

if TYPE_CHECKING:
    from PIL.Image import Image

    from runners.models.vision.transform import Pixels

PARAMETERS: Final = frozenset({"lang"})
EXAMPLE: Final = {
    "label": "forêt",
    "confidence": 0.98,
    "probabilities": {"forêt": 0.98, "mer": 0.01, "désert": 0.0, "nuageux": 0.0},
    "rejected": False,
    "model": SATELLITE,
}


class SatelliteModel:
    """The classifier of the model store: a batch of requests in, labels with probabilities out."""

    def __init__(self) -> None:
        from runners.artifacts import store
        from runners.engines import load
        from runners.models.vision.transform import EvalTransform

        self._engine = load.load(store.path(SATELLITE))
        self._transform = EvalTransform.from_dict(self._engine.facts["transform"])
        self._threshold = float(self._engine.facts["threshold"])
        observe = partial(metrics.batch, "Satellite")
        self.pipeline = ImagePipeline(
            self, self._transform.resize, self._engine.max_batch_size, self._engine.streams, observe
        )
        self._engine.warm(self._transform.crop)

    def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Return results in the order of the requests, computed in one batch; an invalid request gets an error."""
        return self.pipeline.infer(requests)

    def prepare(self, image: Image, parameters: dict[str, Any]) -> tuple[Pixels, Language] | InferenceResult:
        """Return the network's input, or the result of a picture without a scene. Raises InvalidInput."""
        language = language_of(parameters)
        if is_empty(image):
            return _answer(judge(NO_SCENE, self._threshold, language))
        return self._transform(image), language

    def compute(self, prepared: list[tuple[Pixels, Language]]) -> list[InferenceResult]:
        """Return a result for each prepared picture, computed together."""
        probabilities = softmax(self._engine(np.stack([pixels for pixels, _ in prepared]))).tolist()
        return [
            _answer(judge(row, self._threshold, language))
            for row, (_, language) in zip(probabilities, prepared, strict=True)
        ]


def _answer(verdict: Verdict) -> InferenceResult:
    return InferenceResult(output_data={**asdict(verdict), "model": SATELLITE}, confidence=verdict.confidence)


def language_of(parameters: dict[str, Any]) -> Language:
    """Return the language of the labels, French by default. Raises InvalidInput."""
    only(parameters, PARAMETERS)
    requested = parameters.get("lang", "fr")
    for language in LABELS:
        if requested == language:
            return language
    raise InvalidInput(f'"lang" must be one of: {", ".join(LABELS)}')


def router(model: ModelProxy, downloader: Downloader) -> APIRouter:
    """Return the documented routes of a satellite model in any process."""
    routes = APIRouter(tags=["satellite"])
    language = {"lang": {"type": "string", "enum": list(LABELS), "default": "fr"}}
    query = [{"name": "lang", "in": "query", "schema": language["lang"], "description": "the labels' language"}]

    @routes.post(
        "/classify",
        summary="Classify one satellite image",
        openapi_extra={**openapi.one_image(language), "parameters": query},
        responses=openapi.answers(EXAMPLE),
    )
    async def classify(request: Request) -> JSONAnswer:
        reading = await one_image(request, downloader, PARAMETERS)
        (result,) = await infer_each(model, reading.requests({"lang": language_of(dict(reading.parameters))}))
        return JSONAnswer(result.output())

    @routes.post(
        "/classify/batch",
        summary=f"Classify up to {MAX_ITEMS} satellite images: an answer or an error each",
        openapi_extra={**openapi.many_images(language), "parameters": query},
        responses=openapi.answers({"results": [EXAMPLE]}),
    )
    async def classify_batch(request: Request) -> JSONAnswer:
        reading = await many_images(request, downloader, PARAMETERS)
        requests = reading.requests({"lang": language_of(dict(reading.parameters))})
        return batch_response(await infer_each(model, requests))

    return routes


def mounted(attribute: str | None = None) -> MountedModel:
    """Return the model of this process, or of the dependency ``attribute`` of this process's service."""
    return MountedModel(model_under(attribute), router, EXAMPLE)


@bentoml.service(**model_configuration("satellite"))
class Satellite:
    """The BentoML service of satellite image classification."""

    def __init__(self) -> None:
        self._model = SatelliteModel()

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, batched with concurrent requests."""
        return await self._model.pipeline.answer(requests)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Classify a batch for BentoML services that depend on this one.

        Each item's input_data is {"image": base64}; its parameters may name a "lang".
        """
        return self._model.infer(requests)
