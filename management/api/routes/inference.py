"""Routes that call a model with one input or with a batch."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from management.api import schemas
from management.api.documentation import openapi
from management.api.documentation.responses import BatchItem, InferenceAnswer
from management.api.parsing import PathModelId, language
from management.gateway.call import CallOptions
from management.gateway.contract import MAX_MESSAGE_CHARACTERS
from management.gateway.priority import Priority
from management.inference.inference import Inference, ItemOutcome
from management.wording.errors import of_error
from management.wording.messages import Language
from web.answers import large_answer, timestamp
from web.edge.disconnect import while_awaited

PRIORITIES: Final = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}


class InferenceRoutes:
    """Each handler cancels its call when the client disconnects, so that the replica's slot is freed."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.post("/models/{model_id}/inference", **openapi.inference(InferenceAnswer))(self.infer)
        router.post("/models/{model_id}/batch_inference", **openapi.inference(list[BatchItem]))(self.infer_batch)

    async def infer(self, request: Request, model_id: PathModelId, body: schemas.InferenceBody) -> Response:
        """Call a model with one input."""
        item = {"input_data": body.input_data, "parameters": body.parameters}
        work = self._inference.infer(model_id, [item], await _options(request, body), body.api)
        (outcome,) = await while_awaited(work)
        if outcome.error is not None:
            raise outcome.error
        return await large_answer(_answer(_request_id(request), model_id, outcome, request.state.began))

    async def infer_batch(self, request: Request, model_id: PathModelId, body: schemas.BatchBody) -> Response:
        """Call a model with several inputs; each has an output or an error."""
        items = [{"input_data": item.input_data, "parameters": item.parameters} for item in body.requests]
        work = self._inference.infer(model_id, items, await _options(request, body), body.api)
        request_id, spoken = _request_id(request), language(request)
        return await large_answer(
            [
                {**_answer(f"{request_id}.{number}", model_id, outcome, request.state.began), **_error(outcome, spoken)}
                for number, outcome in enumerate(await while_awaited(work))
            ]
        )


async def _options(request: Request, given: schemas.InferenceBody | schemas.BatchBody) -> CallOptions:
    size = len(await request.body())  # the received bytes, not the Content-Length
    return CallOptions(PRIORITIES[given.priority], given.timeout, _request_id(request), size)


def _answer(request_id: str, model_id: str, outcome: ItemOutcome, started: float) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "model_id": model_id,
        "output_data": outcome.output,
        "confidence": outcome.confidence,
        "processing_time": round(time.perf_counter() - started, 6),
        "timestamp": timestamp(),
    }


def _error(outcome: ItemOutcome, spoken: Language) -> dict[str, Any]:
    """The field of an item without an output: its error's code, and a message that names every problem."""
    if outcome.error is None:
        return {}
    error = of_error(outcome.error, spoken)[1]["error"]
    problems = [f"{problem['field']} {problem['message']}" for problem in error["details"].get("problems", ())]
    message = ": ".join([error["message"], *(["; ".join(problems)] if problems else [])])
    return {"error": {"code": error["code"], "message": message[:MAX_MESSAGE_CHARACTERS]}}


def _request_id(request: Request) -> str:
    request_id: str = request.scope["state"]["request_id"]
    return request_id
