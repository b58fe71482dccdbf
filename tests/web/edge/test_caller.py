"""Who asks: the address or the key that the outermost layer knows, and that every process of a server is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bentoml
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from runners.contract import InferenceRequest, InferenceResult
from tests.doubles.asgi import ask
from tests.runners.serving.test_ipc import served
from tests.web.edge.test_middleware import edge
from web.edge.caller import caller, caller_of


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("testclient", "unknown"),
    ],
)
def test_a_caller_is_an_address_or_a_network(address: str, name: str) -> None:
    assert caller_of({"type": "http", "client": (address, 1)}) == name


def test_a_caller_whose_key_is_known_is_that_key_wherever_it_asks_from() -> None:
    scope = {"client": ("203.0.113.7", 1), "state": {"key": SimpleNamespace(id="k1")}}
    assert caller_of(scope) == "key k1"


def test_where_there_is_no_client_nobody_is_named() -> None:
    assert caller_of({"type": "http", "client": None}) == ""


async def telling(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(caller.get())(scope, receive, send)


async def test_the_outermost_layer_says_who_asks_once_the_door_has_judged() -> None:
    async def door(scope: Scope) -> None:
        scope["state"]["key"] = SimpleNamespace(id="k1")

    answer = await ask(edge(telling, authenticate=door))
    assert answer.body == b"key k1"
    assert caller.get() == ""


class Told:
    """Says for whom it was asked."""

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        return [InferenceResult(output_data={"caller": caller.get()}) for _ in requests]


@pytest.mark.parametrize("name", ["203.0.113.7", "key k1", "", "é\r\nX-A: b"])
async def test_a_models_process_is_told_who_asks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bentoml, "get_current_service", Told)
    request: Any = InferenceRequest(input_data={})
    async with served(tmp_path / "s") as client:
        token = caller.set(name)
        try:
            (result,) = await client.call("ask", [request])
        finally:
            caller.reset(token)
    assert result.output_data == {"caller": name}
