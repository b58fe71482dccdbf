"""A route for one item of the model contract as JSON, such as ``POST /diagnose``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request

from runners.contract import InferenceRequest, ModelProxy
from runners.errors import InvalidInput, RunnerError, UnsupportedMediaType
from runners.http import openapi
from runners.http.requests import json_body, media_type
from web.answers import JSONAnswer, timestamp

PARAMETERS: Final = "parameters"


def item_router(
    model: ModelProxy,
    path: str,
    summary: str,
    examples: Mapping[str, dict[str, Any]],
    output: dict[str, Any],
    *errors: type[RunnerError],
) -> APIRouter:
    """Return a router with ``POST path``: the body has the fields of ``input_data`` and, beside them, ``parameters``.

    ``examples`` are request bodies by title, ``output`` is the response to the first, and ``errors`` are the errors
    that only this model raises.
    """
    example = {**output, "confidence": 0.5, "timestamp": "2026-01-01T12:00:00.000Z"}
    routes = APIRouter(tags=[path.removeprefix("/")])

    @routes.post(
        path,
        summary=summary,
        openapi_extra=openapi.json_bodies(examples),
        responses=openapi.answers(example, *errors),
    )
    async def answer(request: Request) -> JSONAnswer:
        if media_type(request) != "application/json":
            raise UnsupportedMediaType("send application/json")
        (result,) = await model.infer([_item(await json_body(request))])
        return JSONAnswer({**result.output(), "confidence": result.confidence, "timestamp": timestamp()})

    return routes


def _item(body: object) -> InferenceRequest:
    if not isinstance(body, dict):
        raise InvalidInput("the body must be a JSON object")
    parameters = body.get(PARAMETERS, {})
    if not isinstance(parameters, dict):
        raise InvalidInput("parameters must be an object")
    fields = {name: value for name, value in body.items() if name != PARAMETERS}
    return InferenceRequest(input_data=fields, parameters=parameters)
