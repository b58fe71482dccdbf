"""How the processes of one server ask one another, over a real unix socket and a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bentoml
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from runners.contract import InferenceRequest, InferenceResult, ItemError
from runners.errors import InvalidInput, ModelTimeout, ModelUnavailable
from runners.serving.ipc import IpcClient, IpcEndpoint
from web.edge.middleware import Edge, Limits

NAMES = frozenset({"ask", "info"})


class Model:
    """Says what it was asked."""

    def __init__(self) -> None:
        self.asked, self.gone = asyncio.Event(), asyncio.Event()

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        if any("hang" in one.input_data for one in requests):
            self.asked.set()
            try:
                await asyncio.sleep(60)
            finally:
                self.gone.set()
        if any("raise" in one.input_data for one in requests):
            raise ValueError("secret")
        return [_said(one) for one in requests]

    async def info(self) -> dict[str, Any]:
        return {"engine": "echo"}

    async def hidden(self) -> str:
        return "never asked"


def _said(request: InferenceRequest) -> InferenceResult:
    if request.input_data.get("bad"):
        return InferenceResult(error=ItemError.of(InvalidInput("bad")))
    data = request.input_data | {"size": len(request.input_data.get("image", b""))}
    data.pop("image", None)
    return InferenceResult(output_data={"data": data, "parameters": request.parameters}, confidence=0.5)


async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("no such thing", status_code=404)(scope, receive, send)


@asynccontextmanager
async def served(path: Path, app: ASGIApp | None = None) -> AsyncIterator[IpcClient]:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()  # whoever connects before the server runs is served when it does
    server = uvicorn.Server(uvicorn.Config(app or IpcEndpoint(elsewhere, NAMES), log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve([listening]))
    client = IpcClient(f"file://{path}")
    try:
        yield client
    finally:
        await client.close()
        server.should_exit = server.force_exit = True
        await task


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    found = Model()
    monkeypatch.setattr(bentoml, "get_current_service", lambda: found)
    return found


@pytest.mark.usefixtures("model")
async def test_bytes_numbers_texts_and_errors_arrive_as_they_were(tmp_path: Path) -> None:
    asked = {"text": "头痛 é", "number": 2**63 - 1, "half": 0.1, "none": None, "list": [True, {"deep": [1]}]}
    request = InferenceRequest(input_data={**asked, "image": bytes(range(256))}, parameters={"lang": "fr"})
    async with served(tmp_path / "s") as client:
        good, bad = await client.call("ask", [request, InferenceRequest(input_data={"bad": True})])
        assert await client.call("info") == {"engine": "echo"}
    assert good.output_data == {"data": {**asked, "size": 256}, "parameters": {"lang": "fr"}}
    assert good.confidence == 0.5
    assert bad.error is not None
    assert (bad.error.code, bad.error.status) == ("INVALID_INPUT", 400)


@pytest.mark.usefixtures("model")
async def test_two_hundred_calls_at_once_are_answered(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as client:
        asked = [client.call("ask", [InferenceRequest(input_data={"number": number})]) for number in range(200)]
        told = await asyncio.gather(*asked)
    assert [one[0].output_data["data"]["number"] for one in told] == [*range(200)]


@pytest.mark.usefixtures("model")
async def test_only_what_is_named_can_be_asked(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as client:
        for name in ("hidden", "__init__", "../ask", ""):
            with pytest.raises(ModelUnavailable):
                await client.call(name)


@pytest.mark.usefixtures("model")
async def test_a_model_that_raises_is_unavailable_and_says_no_more(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as client:
        with pytest.raises(ModelUnavailable) as raised:
            await client.call("ask", [InferenceRequest(input_data={"raise": True})])
    assert "secret" not in str(raised.value)


async def test_a_process_that_is_not_there_is_an_error_that_can_be_tried_again(tmp_path: Path) -> None:
    client = IpcClient(f"file://{tmp_path}/nobody")
    with pytest.raises(ModelUnavailable, match="try again"):
        await client.call("ask", [])
    await client.close()


async def test_whoever_leaves_ends_the_work(tmp_path: Path, model: Model) -> None:
    limits = Limits(body_bytes=1000, request_seconds=60, body_seconds=60)
    edge = Edge(IpcEndpoint(elsewhere, NAMES), name="Model", routes=lambda _: True, limits=limits, trusted=True)
    async with served(tmp_path / "s", edge) as client:
        asked = asyncio.ensure_future(client.call("ask", [InferenceRequest(input_data={"hang": True})]))
        await asyncio.wait_for(model.asked.wait(), 30)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.wait_for(model.gone.wait(), 30)


async def test_a_deadline_of_the_models_process_is_a_timeout(tmp_path: Path) -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("late", status_code=504)(scope, receive, send)

    async with served(tmp_path / "s", late) as client:
        with pytest.raises(ModelTimeout):
            await client.call("ask", [])
