"""``POST /infer`` from clients: parse strictly, download URLs, then call the model's batched ``infer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runners.contract import MAX_ITEMS, InferenceRequest, infer_each
from runners.errors import InvalidInput, RunnerError, UnsupportedMediaType
from runners.http import openapi
from runners.http.requests import json_body, media_type, resolved
from runners.serving.mounted import MountedModel
from web.answers import JSONAnswer
from web.download.client import Downloader

INFER: Final = "/infer"
CHECKED_INFER: Final = "/checked/infer"
"""Inner path of the clients' ``POST /infer``, which parses, downloads, and then calls the batched ``infer``.

BentoML answers a third of all malformed requests to a native route with 500, and a download inside the batch function
would delay the other items.
"""
MAX_ELEMENTS: Final = 1_000_000
"""JSON elements of the largest body: items may contain many numbers, such as the pixels of a picture."""


class NativeCall(BaseModel):
    """The body of ``POST /infer``; ``model`` is required if a service has several."""

    model_config = ConfigDict(extra="forbid")

    requests: list[InferenceRequest] = Field(max_length=MAX_ITEMS)
    model: str | None = None


def native_router(models: Mapping[str, MountedModel], downloader: Downloader) -> APIRouter:
    """Return the route of the model contract for one model, or for several by name."""
    router = APIRouter(tags=["native"])

    async def answer(request: Request) -> JSONAnswer:
        if media_type(request) != "application/json":
            raise UnsupportedMediaType("send application/json")
        call = _validated(await json_body(request, MAX_ELEMENTS))
        model = _chosen(models, call.model)
        results = await infer_each(model.proxy, await _downloaded(call.requests, downloader))
        return JSONAnswer([result.model_dump() for result in results])

    # BentoML's own route comes first if the service has a native API, so the outermost layer rewrites the path. Both
    # paths call this function.
    router.add_api_route(CHECKED_INFER, answer, methods=["POST"], include_in_schema=False)
    router.add_api_route(
        INFER,
        answer,
        methods=["POST"],
        summary=f"The model contract: up to {MAX_ITEMS} items, a result or an error each",
        openapi_extra=openapi.json_body(_example(models)),
        responses=openapi.answers([{"output_data": _first(models).output, "error": None, "confidence": None}]),
    )
    return router


async def _downloaded(requests: list[InferenceRequest], downloader: Downloader) -> list[InferenceRequest | RunnerError]:
    datas = await resolved([request.input_data for request in requests], downloader)
    return [
        data if isinstance(data, RunnerError) else request.model_copy(update={"input_data": data})
        for request, data in zip(requests, datas, strict=True)
    ]


def _chosen(models: Mapping[str, MountedModel], name: str | None) -> MountedModel:
    if name is None and len(models) == 1:
        return _first(models)
    if name is None or name not in models:
        raise InvalidInput(f'"model" must be one of: {", ".join(sorted(models))}')
    return models[name]


def _validated(body: object) -> NativeCall:
    try:
        return NativeCall.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{where or 'body'}: {first['msg']}") from error


def _first(models: Mapping[str, MountedModel]) -> MountedModel:
    return next(iter(models.values()))


def _example(models: Mapping[str, MountedModel]) -> dict[str, Any]:
    input_data = _first(models).example or {"image": openapi.EXAMPLE_IMAGE}
    call: dict[str, Any] = {"requests": [{"input_data": input_data, "parameters": {}}]}
    return call if len(models) == 1 else {"model": next(iter(models)), **call}
