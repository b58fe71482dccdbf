"""Reads the images of a request from multipart, a raw body, or JSON with a URL or base64."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request

from runners.contract import MAX_ITEMS, InferenceRequest
from runners.errors import InvalidInput, PayloadTooLarge, RunnerError, UnsupportedMediaType, of_code
from runners.http.uploads import files_of, instead_of, multipart
from runners.limits import check_bytes
from runners.registry import LIST_BYTES
from web import base64_text, memory
from web.download.client import Downloader
from web.download.errors import DownloadError
from web.json import strict_json, work

MAX_REQUEST_BYTES: Final = LIST_BYTES
LARGE_BODY_BYTES: Final = 1024 * 1024
"""Bytes from which a body is decoded in a thread: it takes about 5 ms."""
ACCEPTED: Final = 'multipart/form-data, an image/* body, or application/json with "url" or "image"'

Item = bytes | RunnerError
"""The bytes of one image, or the error instead of them."""

Source = tuple[str, Any]
"""The source of an image: "url" or "image", and the value that the client sent for it."""


@dataclass(frozen=True)
class Reading:
    """The images of a request in order, and its parameters as text."""

    items: list[Item]
    parameters: dict[str, str] = field(default_factory=dict)

    def requests(self, parameters: dict[str, Any]) -> list[InferenceRequest | RunnerError]:
        """Return a request to the model for each image, or the image's error."""
        return [
            item
            if isinstance(item, RunnerError)
            else InferenceRequest(input_data={"image": item}, parameters=parameters)
            for item in self.items
        ]


async def one_image(request: Request, downloader: Downloader, parameters: frozenset[str]) -> Reading:
    """Read a request with exactly one image. Raises RunnerError if it has none or an unknown parameter."""
    kind = media_type(request)
    if kind == "multipart/form-data":
        reading = await _form(request, "image", 1, parameters)
    elif kind == "application/json":
        body = _object(await json_body(request))
        items = await images([_only(body, {"url", "image"}, parameters)], downloader)
        reading = Reading(items, _texts(body, parameters))
    elif kind.startswith("image/") or kind == "application/octet-stream":
        reading = Reading([await request.body()])
    else:
        raise UnsupportedMediaType(f"send {ACCEPTED}")
    (item,) = reading.items
    if isinstance(item, RunnerError):
        raise item
    return Reading([item], _merged(request, reading.parameters, parameters))


async def many_images(request: Request, downloader: Downloader, parameters: frozenset[str]) -> Reading:
    """Read a batch of 1 to 32 images; an image that cannot be obtained is an error at its position."""
    kind = media_type(request)
    if kind == "multipart/form-data":
        reading = await _form(request, "images", MAX_ITEMS, parameters)
    elif kind == "application/json":
        body = await json_body(request)
        sources = _listed(body, parameters)
        reading = Reading(await images(sources, downloader), _texts(body, parameters) if isinstance(body, dict) else {})
    else:
        raise UnsupportedMediaType(
            'send multipart/form-data with "images", or application/json with "urls" or "images"'
        )
    return Reading(reading.items, _merged(request, reading.parameters, parameters))


async def resolved(inputs: Sequence[Mapping[str, Any]], downloader: Downloader) -> list[dict[str, Any] | RunnerError]:
    """Return items of the native contract with their images as bytes, or an item's error; other data is unchanged."""
    sources = [_source(item) for item in inputs]
    fetched = iter(await images([source for source in sources if isinstance(source, tuple)], downloader))
    return [
        _with_image(item, next(fetched)) if isinstance(source, tuple) else (source or dict(item))
        for source, item in zip(sources, inputs, strict=True)
    ]


def _source(input_data: Mapping[str, Any]) -> Source | RunnerError | None:
    if not {"url", "image"} & input_data.keys():
        return None
    try:
        # The model validates the item's other fields.
        return _only(input_data, {"url", "image"}, frozenset(input_data))
    except RunnerError as error:
        return error


def _with_image(input_data: Mapping[str, Any], item: Item) -> dict[str, Any] | RunnerError:
    if isinstance(item, RunnerError):
        return item
    return {**{key: value for key, value in input_data.items() if key != "url"}, "image": item}


async def json_body(request: Request, max_elements: int = strict_json.MAX_ELEMENTS) -> Any:
    """Return the body as strict JSON of at most ``max_elements`` elements. Raises InvalidInput."""
    try:
        return await work.loads(await request.body(), max_elements)
    except strict_json.InvalidJSON as error:
        raise InvalidInput(error.message) from None


def media_type(request: Request) -> str:
    """Return the content type in lower case, without its parameters; empty if the header is missing."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def decode_base64(text: object, name: str = "image") -> bytes:
    """Decode standard or URL-safe base64, with or without padding, lines and ``data:`` prefix. Raises InvalidInput."""
    if not isinstance(text, str):
        raise InvalidInput(f'"{name}" must be a base64 string')
    try:
        plain = base64_text.plain(text)
        check_bytes(base64_text.decoded_bytes(plain))
        return base64_text.decode(plain)
    except ValueError as error:
        raise InvalidInput(f'"{name}" is not base64') from error


async def images(sources: Sequence[Source], downloader: Downloader) -> list[Item]:
    """Fetch and decode the images of one request concurrently; those beyond the byte budget become errors."""
    budget = ByteBudget(MAX_REQUEST_BYTES)
    return list(await asyncio.gather(*(_image(source, downloader, budget) for source in sources)))


class ByteBudget:
    """Bytes of images that a request may still hold: short URLs can lead to large images."""

    def __init__(self, left: int) -> None:
        self.left = left

    def charge(self, image: bytes) -> bytes:
        """Charge the image to the budget and return it. Raises PayloadTooLarge."""
        self.left -= len(image)
        memory.hold(len(image))
        if self.left < 0:
            raise PayloadTooLarge(f"the images of one request may have {MAX_REQUEST_BYTES} bytes together")
        return image


async def _image(source: Source, downloader: Downloader, budget: ByteBudget) -> Item:
    kind, value = source
    try:
        if kind == "image":
            large = isinstance(value, str) and len(value) > LARGE_BODY_BYTES
            return budget.charge(await asyncio.to_thread(decode_base64, value) if large else decode_base64(value))
        if not isinstance(value, str):
            raise InvalidInput('"url" must be a string')
        return budget.charge(await downloader.fetch(value))
    except DownloadError as error:
        return of_code(error.code, error.message)
    except RunnerError as error:
        return error


async def _form(request: Request, name: str, max_files: int, parameters: frozenset[str]) -> Reading:
    async with multipart(request) as form:
        return await _read_form(form, name, max_files, parameters)


async def _read_form(form: FormData, name: str, max_files: int, parameters: frozenset[str]) -> Reading:
    files = files_of(form, name)
    texts = {key: value for key, value in form.multi_items() if isinstance(value, str)}
    unknown = form.keys() - parameters - {name}
    if not files:
        raise InvalidInput(f'a file named "{name}" is missing{instead_of(form, name)}')
    if unknown:
        raise InvalidInput(f"unknown field: {', '.join(sorted(unknown))[:100]!r}; files are sent as {name!r}")
    if len(files) > max_files:
        raise InvalidInput(f"at most {max_files} files")
    return Reading([await file.read() for file in files], texts)


def _listed(body: Any, parameters: frozenset[str]) -> list[Source]:
    if isinstance(body, list):
        sources = [_only(_object(entry), {"url", "image"}, frozenset()) for entry in body]
    else:
        plural, values = _only(_object(body), {"urls", "images"}, parameters)
        if not isinstance(values, list):
            raise InvalidInput(f'"{plural}" must be a list')
        sources = [(plural.removesuffix("s"), value) for value in values]
    if not 1 <= len(sources) <= MAX_ITEMS:
        raise InvalidInput(f"send 1 to {MAX_ITEMS} images")
    return sources


def _only(body: Mapping[str, Any], names: set[str], also: frozenset[str]) -> Source:
    given = names & body.keys()
    unknown = body.keys() - names - also
    expected = " or ".join(f'"{name}"' for name in sorted(names))
    if len(given) != 1:
        raise InvalidInput(f"exactly one of {expected} is required")
    if unknown:
        raise InvalidInput(f"unknown field: {', '.join(sorted(unknown))[:100]!r}")
    (name,) = given
    return name, body[name]


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("a JSON object is required")
    return value


def _texts(body: Mapping[str, Any], parameters: frozenset[str]) -> dict[str, str]:
    texts = {name: body[name] for name in parameters & body.keys()}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise InvalidInput(f'"{name}" must be a string')
    return texts


def _merged(request: Request, sent: Mapping[str, str], parameters: frozenset[str]) -> dict[str, str]:
    """Merge the parameters of body and query string. Raises InvalidInput on an unknown query parameter."""
    unknown = request.query_params.keys() - parameters
    if unknown:
        raise InvalidInput(f"unknown parameter: {', '.join(sorted(unknown))[:100]!r}")
    return {**sent, **request.query_params}
