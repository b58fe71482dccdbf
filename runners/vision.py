"""What the picture models share: a batch of requests to decoded pictures, beside one another, errors in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from io import BytesIO
from typing import Any, Final, TypeVar

from PIL import Image

from runners import images
from runners.contract import Infer, InferenceRequest, InferenceResult, ask
from runners.errors import InvalidInput, RunnerError
from runners.machine import cores
from runners.reading import Item, decode_base64

T = TypeVar("T")
DECODERS: Final = 8  # one image may take 300 MB while it is decoded


def decoded(
    requests: Sequence[InferenceRequest], then: Callable[[Image.Image, dict[str, Any]], T]
) -> list[T | RunnerError]:
    """Each request's image, decoded and handed to ``then`` with its parameters in parallel threads; or why not."""
    return list(_decoders().map(partial(_decoded, then=then), requests))


def _decoded(request: InferenceRequest, then: Callable[[Image.Image, dict[str, Any]], T]) -> T | RunnerError:
    try:
        return then(images.decode(_bytes(request.input_data)), request.parameters)
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


def sample() -> bytes:
    """A small picture for warming up."""
    file = BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "PNG")
    return file.getvalue()


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
