"""Image embedding: 512 numbers of length one, near for pictures that look alike."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import bentoml
from fastapi import APIRouter, Request

from runners import describe
from runners.answers import answered, listed
from runners.contract import MAX_ITEMS, Infer, InferenceRequest, InferenceResult, answer_each, only
from runners.download import Downloader
from runners.front import application
from runners.mounted import Mounted
from runners.reading import many_images, one_image
from runners.serving import configuration, own_about, own_infer, resources, threads
from runners.vision import decoded, sample, see
from web.answers import JSONAnswer

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

logger = logging.getLogger("bentoml.atelier")
PORT: Final = 8000
NO_PARAMETERS: Final[frozenset[str]] = frozenset()
EXAMPLE: Final = {"embedding": [0.0123, 0.0456, 0.0789], "model": "embedding:satellite-1.0.0"}


class EmbeddingModel:
    """The one embedding network of the model store: a batch of requests in, vectors out."""

    def __init__(self) -> None:
        from runners import artifacts
        from runners.engine import Engine
        from runners.models.networks import Embedder
        from runners.models.transform import EvalTransform

        self.tag = artifacts.embedding_tag()
        stored = artifacts.load(self.tag)
        network = Embedder()
        network.load_state_dict(stored.tensors)
        self._transform = EvalTransform.from_dict(stored.facts["transform"])
        self._engine = Engine(network, threads=threads())

    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Vectors in the order of the requests; a request without a picture gets an error."""
        return answer_each(decoded(requests, self._prepare), self._embed)

    def _prepare(self, image: Image, parameters: dict[str, Any]) -> Tensor:
        only(parameters, NO_PARAMETERS)
        return self._transform(image)

    def _embed(self, pixels: list[Tensor]) -> list[InferenceResult]:
        vectors = self._engine(pixels).tolist()
        return [InferenceResult(output_data={"embedding": vector, "model": self.tag}) for vector in vectors]


def router(infer: Infer, downloader: Downloader) -> APIRouter:
    """The documented routes over an embedding model, wherever it runs."""
    routes = APIRouter(tags=["embedding"])

    @routes.post(
        "/embed",
        summary="Embed one image",
        openapi_extra=describe.one_image(),
        responses=describe.answers(EXAMPLE),
    )
    async def embed(request: Request) -> JSONAnswer:
        reading = await one_image(request, downloader, NO_PARAMETERS)
        (result,) = await see(infer, reading.items, {})
        return answered(result)

    @routes.post(
        "/embed/batch",
        summary=f"Embed up to {MAX_ITEMS} images: a vector or an error each",
        openapi_extra=describe.many_images(),
        responses=describe.answers({"results": [EXAMPLE]}),
    )
    async def embed_batch(request: Request) -> JSONAnswer:
        reading = await many_images(request, downloader, NO_PARAMETERS)
        return listed(await see(infer, reading.items, {}))

    return routes


_front = application(
    "Atelier: image embedding",
    "512 numbers of length one, near for pictures that look alike.",
    {"embedding": Mounted(own_infer(), own_about, router, EXAMPLE)},
)


@bentoml.service(name="Embedding", resources=resources(), **configuration(PORT))
@bentoml.asgi_app(_front, name="front")
class Embedding:
    """Image embedding on its own."""

    def __init__(self) -> None:
        self._model = EmbeddingModel()
        self._model.infer([InferenceRequest(input_data={"image": sample()})] * MAX_ITEMS)  # warm before ready
        logger.warning("embedding with %s: vectors of two networks never compare", self._model.tag)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Embeds a batch: each item's input_data is {"image": base64}."""
        return self._model.infer(requests)
