"""Reads images out of a request: multipart, a raw body, or JSON with a URL or base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request

from runners.contract import MAX_ITEMS, InferenceRequest
from runners.download.client import Downloader
from runners.errors import InvalidInput, PayloadTooLarge, RunnerError, UnsupportedMediaType
from runners.http.uploads import files_of, instead_of, multipart
from runners.limits import check_bytes
from runners.registry import LIST_BYTES
from web import memory
from web.json import strict_json, work

MAX_REQUEST_BYTES: Final = LIST_BYTES
STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
WHITE_SPACE: Final = b" \t\n\r\v\f"
LARGE_BODY: Final = 1024 * 1024  # bytes; about 5 ms of parsing
ACCEPTED: Final = 'multipart/form-data, an image/* body, or application/json with "url" or "image"'

Item = bytes | RunnerError
"""The bytes of one image, or why there are none."""

Source = tuple[str, Any]
"""Where an image comes from: "url" or "image", and the value that the caller gave for it."""


@dataclass(frozen=True)
class Reading:
    """What a request brought: its images in order, and its parameters as text."""

    items: list[Item]
    parameters: dict[str, str] = field(default_factory=dict)

    def requests(self, parameters: dict[str, Any]) -> list[InferenceRequest | RunnerError]:
        """A request to the model for each image, or why there is none."""
        return [
            item
            if isinstance(item, RunnerError)
            else InferenceRequest(input_data={"image": item}, parameters=parameters)
            for item in self.items
        ]


async def one_image(request: Request, downloader: Downloader, parameters: frozenset[str]) -> Reading:
    """The image of a request with exactly one. Raises RunnerError when there is none, or a parameter is unknown."""
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
    """The images of a batch, 1 to 32; one that cannot be had is an error in its place."""
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
    """Items of the native contract, their images as bytes, or why they cannot be had; other data stays as it is."""
    sources = [_source(one) for one in inputs]
    found = iter(await images([one for one in sources if isinstance(one, tuple)], downloader))
    return [
        _with_image(one, next(found)) if isinstance(source, tuple) else (source or dict(one))
        for source, one in zip(sources, inputs, strict=True)
    ]


def _source(input_data: Mapping[str, Any]) -> Source | RunnerError | None:
    if not {"url", "image"} & input_data.keys():
        return None
    try:
        # What else an item has, its model judges.
        return _only(input_data, {"url", "image"}, frozenset(input_data))
    except RunnerError as error:
        return error


def _with_image(input_data: Mapping[str, Any], item: Item) -> dict[str, Any] | RunnerError:
    if isinstance(item, RunnerError):
        return item
    return {**{key: value for key, value in input_data.items() if key != "url"}, "image": item}


async def json_body(request: Request, most: int = strict_json.MAX_ELEMENTS) -> Any:
    """The request's body as JSON of at most so many elements, strictly. Raises InvalidInput."""
    try:
        return await work.loads(await request.body(), most)
    except strict_json.InvalidJSON as error:
        raise InvalidInput(error.message) from None


def media_type(request: Request) -> str:
    """The request's content type without its parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def decode_base64(text: object, name: str = "image") -> bytes:
    """Standard or URL-safe base64, padded or not, in lines or not, with or without ``data:``. Raises InvalidInput."""
    if not isinstance(text, str):
        raise InvalidInput(f'"{name}" must be a base64 string')
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        # Deleting white space takes one copy; splitting at it would take an object of 50 bytes for each word.
        plain = text.encode("ascii").translate(STANDARD_ALPHABET, WHITE_SPACE).rstrip(b"=")
        check_bytes(len(plain) * 3 // 4)
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f'"{name}" is not base64') from error


async def images(sources: Sequence[Source], downloader: Downloader) -> list[Item]:
    """The images of one request, beside one another; those that are too much together are errors."""
    budget = ByteBudget(MAX_REQUEST_BYTES)
    return list(await asyncio.gather(*(_image(source, downloader, budget) for source in sources)))


class ByteBudget:
    """The bytes of images that a request may still hold: URLs are short, and what they lead to is not."""

    def __init__(self, left: int) -> None:
        self.left = left

    def charge(self, image: bytes) -> bytes:
        """The same image, counted. Raises PayloadTooLarge."""
        self.left -= len(image)
        memory.hold(len(image))
        if self.left < 0:
            raise PayloadTooLarge(f"the images of one request may have {MAX_REQUEST_BYTES} bytes together")
        return image


async def _image(source: Source, downloader: Downloader, budget: ByteBudget) -> Item:
    kind, value = source
    try:
        if kind == "image":
            large = isinstance(value, str) and len(value) > LARGE_BODY
            return budget.charge(await asyncio.to_thread(decode_base64, value) if large else decode_base64(value))
        if not isinstance(value, str):
            raise InvalidInput('"url" must be a string')
        return budget.charge(await downloader.fetch(value))
    except RunnerError as error:
        return error


async def _form(request: Request, name: str, most: int, parameters: frozenset[str]) -> Reading:
    async with multipart(request) as form:
        return await _read_form(form, name, most, parameters)


async def _read_form(form: FormData, name: str, most: int, parameters: frozenset[str]) -> Reading:
    files = files_of(form, name)
    texts = {key: value for key, value in form.multi_items() if isinstance(value, str)}
    unknown = form.keys() - parameters - {name}
    if not files:
        raise InvalidInput(f'a file named "{name}" is missing{instead_of(form, name)}')
    if unknown:
        raise InvalidInput(f"unknown field: {', '.join(sorted(unknown))[:100]!r}; files are sent as {name!r}")
    if len(files) > most:
        raise InvalidInput(f"at most {most} files")
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
    found = names & body.keys()
    unknown = body.keys() - names - also
    wanted = " or ".join(f'"{name}"' for name in sorted(names))
    if len(found) != 1:
        raise InvalidInput(f"exactly one of {wanted} is required")
    if unknown:
        raise InvalidInput(f"unknown field: {', '.join(sorted(unknown))[:100]!r}")
    (name,) = found
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
    """Parameters of the body and of the query string. Raises InvalidInput when the query has an unknown one."""
    unknown = request.query_params.keys() - parameters
    if unknown:
        raise InvalidInput(f"unknown parameter: {', '.join(sorted(unknown))[:100]!r}")
    return {**sent, **request.query_params}
