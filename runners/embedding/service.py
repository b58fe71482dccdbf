"""Image embedding: unit vectors of 512 numbers, close for pictures that look alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import bentoml
import numpy as np
from fastapi import APIRouter, Request

from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ModelProxy, infer_each, only
from runners.http import openapi
from runners.http.requests import many_images, one_image
from runners.http.responses import batch_response
from runners.images.pipeline import ImagePipeline
from runners.models.vision.outputs import l2_normalized
from runners.serving import metrics
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import model_configuration
from web.answers import JSONAnswer
from web.download.client import Downloader

if TYPE_CHECKING:
    from PIL.Image import Image

    from runners.models.vision.transform import Pixels

logger = logging.getLogger("bentoml.atelier")
NO_PARAMETERS: Final[frozenset[str]] = frozenset()
EXAMPLE: Final = {"embedding": [0.0123, 0.0456, 0.0789], "model": "embedding:satellite-1.0.0"}


class EmbeddingModel:
    """The embedding network of the model store: a batch of requests in, vectors out."""

    def __init__(self) -> None:
        from runners.artifacts import store
        from runners.engines import load
        from runners.models.vision.transform import EvalTransform

        self.tag = store.embedding_tag()
        self._engine = load.load(store.path(self.tag))
        self._transform = EvalTransform.from_dict(self._engine.facts["transform"])
        observe = partial(metrics.batch, "Embedding")
        self.pipeline = ImagePipeline(
            self, self._transform.resize, self._engine.max_batch_size, self._engine.streams, observe
        )
        self._engine.warm(self._transform.crop)

    def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Return results in the order of the requests, computed in one batch; an invalid request gets an error."""
        return self.pipeline.infer(requests)

    def prepare(self, image: Image, parameters: dict[str, Any]) -> Pixels:
        """Return the network's input for a picture, uint8 [H, W, 3]. Raises InvalidInput for any parameter."""
        only(parameters, NO_PARAMETERS)
        return self._transform(image)

    def compute(self, prepared: list[Pixels]) -> list[InferenceResult]:
        """Return a vector for each prepared picture, computed together."""
        vectors = l2_normalized(self._engine(np.stack(prepared))).tolist()
        return [InferenceResult(output_data={"embedding": vector, "model": self.tag}) for vector in vectors]


def router(model: ModelProxy, downloader: Downloader) -> APIRouter:
    """Return the documented routes of an embedding model in any process."""
    routes = APIRouter(tags=["embedding"])

    @routes.post(
        "/embed",
        summary="Embed one image",
        openapi_extra=openapi.one_image(),
        responses=openapi.answers(EXAMPLE),
    )
    async def embed(request: Request) -> JSONAnswer:
        reading = await one_image(request, downloader, NO_PARAMETERS)
        (result,) = await infer_each(model, reading.requests({}))
        return JSONAnswer(result.output())

    @routes.post(
        "/embed/batch",
        summary=f"Embed up to {MAX_ITEMS} images: a vector or an error each",
        openapi_extra=openapi.many_images(),
        responses=openapi.answers({"results": [EXAMPLE]}),
    )
    async def embed_batch(request: Request) -> JSONAnswer:
        reading = await many_images(request, downloader, NO_PARAMETERS)
        return batch_response(await infer_each(model, reading.requests({})))

    return routes


def mounted(attribute: str | None = None) -> MountedModel:
    """Return the model of this process, or of the dependency ``attribute`` of this process's service."""
    return MountedModel(model_under(attribute), router, EXAMPLE)


@bentoml.service(**model_configuration("embedding"))
class Embedding:
    """The BentoML service of image embedding."""

    def __init__(self) -> None:
        self._model = EmbeddingModel()
        logger.warning("embedding with %s: vectors of two networks never compare", self._model.tag)

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, batched with concurrent requests."""
        return await self._model.pipeline.answer(requests)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Embed a batch for BentoML services that depend on this one: an item's input_data is {"image": base64}."""
        return self._model.infer(requests)
