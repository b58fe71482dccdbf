"""A language model on the CPU, behind an API that OpenAI's clients speak."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import bentoml
from annotated_types import Ge, Le
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

with bentoml.importing():  # it can be built where this is not installed
    import xllamacpp

MODEL = "smollm2-135m"
CONTEXT_TOKENS = 4096
PARALLEL = 2
"""Answers that are written at a time; further requests wait."""
MAX_TOKENS = 512
"""Tokens of an answer for which the request names no limit."""
app = FastAPI(title="SmolLM2", docs_url=None)
Body = dict[str, Any]
Handle = Callable[..., Body | None]


@bentoml.service(workers=1, traffic={"timeout": 300})
@bentoml.asgi_app(app, path="/v1")
class SmolLM:
    """SmolLM2-135M-Instruct, run by llama.cpp."""

    weights = bentoml.models.BentoModel("smollm2-135m:latest")

    def __init__(self) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(Path(self.weights.path_of("model.gguf")))
        params.n_ctx, params.n_parallel, params.n_predict = CONTEXT_TOKENS, PARALLEL, MAX_TOKENS
        params.api_keys = [secrets.token_urlsafe()]  # llama.cpp's own port on loopback answers nobody
        self.engine = xllamacpp.Server(params)

    @bentoml.api
    def complete(self, prompt: str, max_tokens: Annotated[int, Ge(1), Le(MAX_TOKENS)] = 64) -> str:
        """Return how the model goes on from the prompt."""
        answer = self.engine.handle_completions({"prompt": prompt, "max_tokens": max_tokens})
        return str(answer["choices"][0]["text"])


@app.get("/models")
def models() -> Body:
    """List the only model."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "HuggingFaceTB"}]}


@app.post("/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    return await _answer(request, _engine().handle_chat_completions)


@app.post("/completions")
async def completions(request: Request) -> Response:
    """Go on from a prompt."""
    return await _answer(request, _engine().handle_completions)


def _engine() -> Any:
    return bentoml.get_current_service().engine


async def _answer(request: Request, handle: Handle) -> Response:
    """Answer whole or in pieces, as the request asks; what llama.cpp refuses is the caller's mistake."""
    try:
        body = await request.json()
        if not isinstance(body, dict):
            raise ValueError("the body must be a JSON object")
        body["model"] = MODEL
        if not body.get("stream"):
            return JSONResponse(await asyncio.to_thread(handle, body))
        return await _stream(handle, body)
    except ValueError as error:
        return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, 400)


async def _stream(handle: Handle, body: Body) -> Response:
    """Begin to answer as soon as there is a first piece, so that a refusal still has a status."""
    pieces = _pieces(handle, body)
    first = await anext(pieces)

    async def events() -> AsyncGenerator[str, None]:
        yield _event(first)
        async for piece in pieces:
            yield _event(piece)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def _pieces(handle: Handle, body: Body) -> AsyncGenerator[Body, None]:
    """Yield what the model writes in a thread, and stop it when nobody reads any more."""
    loop, queue, left = asyncio.get_running_loop(), asyncio.Queue[Body | None](), False

    def write(piece: Body) -> bool:
        loop.call_soon_threadsafe(queue.put_nowait, piece)
        return left  # True ends the writing

    writing: Awaitable[Body | None] = asyncio.ensure_future(asyncio.to_thread(handle, body, write))
    writing.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (piece := await queue.get()) is not None:
            yield piece
        await writing
    finally:
        left = True


def _event(piece: Body) -> str:
    return f"data: {json.dumps(piece)}\n\n"
