"""What the picture models share: from the bytes of a request to the network, errors in their place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import ceil
from typing import Any, Final, Generic, TypeVar

from PIL import Image

from machine.devices import cores
from runners.contract import Infer, InferenceRequest, InferenceResult, ItemError, answer_each, ask
from runners.errors import InvalidInput, RunnerError
from runners.http.requests import Item, decode_base64
from runners.images import decode
from runners.serving.batching import Batcher, Observe

T = TypeVar("T")
DECODERS: Final = 8  # one image may take 300 MB while it is decoded
FINER: Final = 1.5
"""How much larger than it will be resized to a picture must stay where a decoder makes it smaller: with 1, the least
cosine between the vectors of 256 photographs so decoded and decoded whole was 0.9988, with 1.5 it was 0.9999."""


class Pictures(Generic[T]):
    """A picture model: each picture is prepared where it arrives, beside the network, which sees them in batches.

    ``prepare`` turns a decoded picture and its parameters into what ``compute`` takes, or into the answer itself where
    the network need not see it, and may raise RunnerError;
    ``side`` is how many pixels it resizes the shorter side to, ``batches`` how many pictures are seen together at most,
    and how many such batches beside one another.
    """

    def __init__(
        self,
        prepare: Callable[[Image.Image, dict[str, Any]], T | InferenceResult],
        compute: Callable[[list[T]], list[InferenceResult]],
        side: int,
        batches: tuple[int, int],
        observe: Observe | None = None,
    ) -> None:
        self._prepare, self._compute, self._side = prepare, compute, ceil(FINER * side)
        most, lanes = batches
        self._batches = Batcher(compute, most, observe, lanes)

    async def ask(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Answers in the order of the requests; a request that cannot be judged gets an error."""
        if len(requests) == 1:
            return [await self._one(requests[0])]
        return list(await asyncio.gather(*map(self._one, requests)))

    async def _one(self, request: InferenceRequest) -> InferenceResult:
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
        computed = iter(answer_each(unseen, self._compute))
        return [item if isinstance(item, InferenceResult) else next(computed) for item in prepared]

    def _prepared(self, request: InferenceRequest) -> T | InferenceResult | RunnerError:
        try:
            return self._prepare(decode.decode(_bytes(request.input_data), self._side), request.parameters)
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


async def see(infer: Infer, items: Sequence[Item], parameters: dict[str, Any]) -> list[InferenceResult]:
    """A model's results for images, bytes or the reason why there are none, in order."""
    return await ask(
        infer,
        [
            item
            if isinstance(item, RunnerError)
            else InferenceRequest(input_data={"image": item}, parameters=parameters)
            for item in items
        ],
    )
