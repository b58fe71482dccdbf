"""Routes that call a model with one input or with a batch."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from management.api import schemas
from management.api.documentation import openapi
from management.api.documentation.responses import BatchItem, InferenceAnswer
from management.api.parsing import PathModelId
from management.errors import ItemRefused
from management.gateway.gateway import Gateway, InferenceOptions
from management.gateway.priority import Priority
from management.gateway.replica_client import Result, code_of, message_of
from web.answers import large_answer, timestamp
from web.edge.disconnect import while_awaited

PRIORITIES: Final = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}


class InferenceRoutes:
    """Each handler cancels its call when the client disconnects, so that the replica's slot is freed."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.post("/models/{model_id}/inference", **openapi.inference(InferenceAnswer))(self.infer)
        router.post("/models/{model_id}/batch_inference", **openapi.inference(list[BatchItem]))(self.infer_batch)

    async def infer(self, request: Request, model_id: PathModelId, body: schemas.InferenceBody) -> Response:
        """Call a model with one input."""
        item = {"input_data": body.input_data, "parameters": body.parameters}
        (result,) = await while_awaited(self._gateway.infer(model_id, [item], await _options(request, body)))
        if (error := result.get("error")) is not None:
            raise ItemRefused(code_of(error.get("code")), message_of(error.get("message")))
        return await large_answer(_answer(_request_id(request), model_id, result, request.state.began))

    async def infer_batch(self, request: Request, model_id: PathModelId, body: schemas.BatchBody) -> Response:
        """Call a model with several inputs; each has an output or an error."""
        items = [{"input_data": item.input_data, "parameters": item.parameters} for item in body.requests]
        results = await while_awaited(self._gateway.infer(model_id, items, await _options(request, body)))
        request_id = _request_id(request)
        return await large_answer(
            [
                _batch_answer(f"{request_id}.{number}", model_id, result, request.state.began)
                for number, result in enumerate(results)
            ]
        )


async def _options(request: Request, given: schemas.InferenceBody | schemas.BatchBody) -> InferenceOptions:
    size = len(await request.body())  # the received bytes, not the Content-Length
    return InferenceOptions(PRIORITIES[given.priority], given.timeout, _request_id(request), size)


def _answer(request_id: str, model_id: str, result: Result, started: float) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "model_id": model_id,
        "output_data": result.get("output_data"),
        "confidence": result.get("confidence"),
        "processing_time": round(time.perf_counter() - started, 6),
        "timestamp": timestamp(),
    }


def _batch_answer(request_id: str, model_id: str, result: Result, started: float) -> dict[str, Any]:
    answer = _answer(request_id, model_id, result, started)
    error = result.get("error")
    if error is not None:
        answer["error"] = {"code": code_of(error.get("code")), "message": message_of(error.get("message"))}
    return answer


def _request_id(request: Request) -> str:
    request_id: str = request.scope["state"]["request_id"]
    return request_id
