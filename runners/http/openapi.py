"""OpenAPI descriptions that FastAPI cannot derive: image bodies of several types, errors, and working examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from runners.contract import MAX_ITEMS
from runners.errors import (
    InvalidInput,
    ModelUnavailable,
    NoText,
    PayloadTooLarge,
    RefusedURL,
    RunnerError,
    UnsupportedMediaType,
    UpstreamFailed,
    UpstreamTimeout,
)
from web.error_shape import shape

EXAMPLE_URL: Final = "https://res.cloudinary.com/demo/image/upload/sample.jpg"
EXAMPLE_IMAGE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAgklEQVR42g3JMQpEIQxAwT3EB0EQAoGgYGGRIkWKFB7qHX+ddn7fpE36ZExk"
    "ohObrMnv27RN34yNbHRjm7VfHNqhH8ZBDnqwwzovnOZ0ZzjiqGPO8hdBC3owAgk0sGDFi6QlPRmJJJpYsvJF0YpejEIKLaxY9eLSLv0yLnLR"
    "i13W5Q9U9TMhL2QyGgAAAABJRU5ErkJggg=="
)
"""A picture of 8x8 pixels as base64, for examples that work unchanged."""

CALLERS_ERRORS: Final = (
    InvalidInput,
    RefusedURL,
    PayloadTooLarge,
    UnsupportedMediaType,
    NoText,
    UpstreamFailed,
    ModelUnavailable,
    UpstreamTimeout,
)


def _errors(kinds: Iterable[type[RunnerError]]) -> dict[int | str, dict[str, Any]]:
    return {
        error.status: {
            "description": HTTPStatus(error.status).phrase,
            "content": {"application/json": {"example": shape("what is wrong", error.code)}},
        }
        for error in kinds
    }


ERRORS: Final = _errors(CALLERS_ERRORS)
"""Error responses of the documented routes, by status."""

_FILE: Final = {"type": "string", "format": "binary"}
_TEXT: Final = {"type": "string"}


def one_image(parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe the body of a request with one image; ``parameters`` are further fields by name."""
    more = parameters or {}
    json_schema = {"type": "object", "properties": {"url": _TEXT, "image": {**_TEXT, "format": "byte"}, **more}}
    return _body(
        {
            "multipart/form-data": {"schema": _object({"image": _FILE, **more}, ["image"])},
            "application/json": {
                "schema": json_schema,
                "examples": {"base64": {"value": {"image": EXAMPLE_IMAGE}}, "url": {"value": {"url": EXAMPLE_URL}}},
            },
            "image/*": {"schema": _FILE},
        }
    )


def many_images(parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe the body of a batch of images; ``parameters`` are further fields by name."""
    more = parameters or {}
    files = {"type": "array", "items": _FILE, "maxItems": MAX_ITEMS}
    texts = {"type": "array", "items": _TEXT, "maxItems": MAX_ITEMS}
    return _body(
        {
            "multipart/form-data": {"schema": _object({"images": files, **more}, ["images"])},
            "application/json": {
                "schema": {"type": "object", "properties": {"urls": texts, "images": texts, **more}},
                "examples": {
                    "base64": {"value": {"images": [EXAMPLE_IMAGE, EXAMPLE_IMAGE]}},
                    "urls": {"value": {"urls": [EXAMPLE_URL]}},
                },
            },
        }
    )


def upload(field: str, options: dict[str, Any]) -> dict[str, Any]:
    """Describe the body of a request with one document; ``options`` are further fields by name."""
    return _body({"multipart/form-data": {"schema": _object({field: _FILE, **options}, [field])}})


def json_body(example: dict[str, Any]) -> dict[str, Any]:
    """Describe a JSON body by one example."""
    return _body({"application/json": {"schema": {"type": "object"}, "example": example}})


def json_bodies(examples: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe a JSON body by several examples, by title."""
    titled = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return _body({"application/json": {"schema": {"type": "object"}, "examples": titled}})


def answers(example: Any, *more: type[RunnerError]) -> dict[int | str, dict[str, Any]]:
    """Describe a route's responses: 200 with the example, the common errors, and ``more`` errors of the route."""
    return {200: {"content": {"application/json": {"example": example}}}, **ERRORS, **_errors(more)}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}
