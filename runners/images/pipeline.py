"""What the picture models share: from the bytes of a request to the network, errors in their place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import ceil
from typing import Any, Final, Generic, Protocol, TypeVar

from PIL import Image

from machine.devices import cores
from runners.contract import InferenceRequest, InferenceResult, ItemError, answer_each
from runners.errors import InvalidInput, RunnerError
from runners.http.requests import decode_base64
from runners.images import decode
from runners.serving.batching import Batcher, Observe

T = TypeVar("T")
DECODERS: Final = 8  # one image may take 300 MB while it is decoded
DECODE_MARGIN: Final = 1.5
"""How much larger than it will be resized to a picture must stay where a decoder makes it smaller: with 1, the least
cosine between the vectors of 256 photographs so decoded and decoded whole was 0.9988, with 1.5 it was 0.9999."""


class ImageModel(Protocol[T]):
    """What differs between two models of pictures."""

    def prepare(self, image: Image.Image, parameters: dict[str, Any]) -> T | InferenceResult:
        """What ``compute`` takes, or the answer itself where the network need not see it. Raises RunnerError."""

    def compute(self, prepared: list[T]) -> list[InferenceResult]:
        """A result for each picture, in order, by the network."""


class ImagePipeline(Generic[T]):
    """From requests to results: each picture is prepared where it arrives, beside the network, which sees batches.

    ``side`` is how many pixels the model resizes the shorter side to. The network sees up to ``max_batch_size``
    pictures together, and ``streams`` such batches side by side.
    """

    def __init__(
        self, model: ImageModel[T], side: int, max_batch_size: int, streams: int = 1, observe: Observe | None = None
    ) -> None:
        self._model, self._side = model, ceil(DECODE_MARGIN * side)
        self._batches = Batcher(model.compute, max_batch_size, observe, streams)

    async def answer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Answers in the order of the requests; a request that cannot be judged gets an error."""
        if len(requests) == 1:
            return [await self._answer(requests[0])]
        return list(await asyncio.gather(*map(self._answer, requests)))

    async def _answer(self, request: InferenceRequest) -> InferenceResult:
        prepared = await asyncio.get_running_loop().run_in_executor(_decoders(), self._prepared, request)
        if isinstance(prepared, RunnerError):
            return InferenceResult(error=ItemError.of(prepared))
        if isinstance(prepared, InferenceResult):
            return prepared
        (result,) = await self._batches([prepared])
        return result

    def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """The same without an event loop, all in one batch."""
        prepared = list(_decoders().map(self._prepared, requests))
        unseen: list[T | RunnerError] = [item for item in prepared if not isinstance(item, InferenceResult)]
        computed = iter(answer_each(unseen, self._model.compute))
        return [item if isinstance(item, InferenceResult) else next(computed) for item in prepared]

    def _prepared(self, request: InferenceRequest) -> T | InferenceResult | RunnerError:
        try:
            return self._model.prepare(decode.decode(_bytes(request.input_data), self._side), request.parameters)
        except RunnerError as error:
            return error


def _bytes(input_data: dict[str, Any]) -> bytes:
    if input_data.keys() != {"image"}:
        raise InvalidInput('an item\'s input_data is {"image": base64} or {"url": text}')
    image = input_data["image"]
    return image if isinstance(image, bytes) else decode_base64(image)


@cache
def _decoders() -> ThreadPoolExecutor:
    # Pillow lets go of the interpreter while it decodes and resizes.
    return ThreadPoolExecutor(min(DECODERS, cores()), thread_name_prefix="decode")
