"""The host of a replica whose port is open to others: what it answers, and whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from management.backends.replica import host
from management.backends.replica.host import KEY_HEADER, STATE, Watched, key_of, proof_of
from runners.serving import arbiter

TOKEN = b"secret"
KEY = key_of(TOKEN)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers everything with 204, and takes every websocket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def said(
    kind: str = "http", path: str = "/infer", query: bytes = b"", key: str | None = None
) -> list[dict[str, Any]]:
    """All that it sends for one request."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    pairs = [] if key is None else [(KEY_HEADER.encode(), key.encode())]
    scope = {"type": kind, "method": "GET", "path": path, "query_string": query, "headers": pairs}
    await Watched(application, TOKEN, KEY)(scope, receive, send)
    return sent


async def test_who_has_the_key_is_answered() -> None:
    (start, _) = await said(key=KEY)
    assert start["status"] == 204


@pytest.mark.parametrize("given", [None, "", KEY[:-1], KEY.upper(), proof_of(TOKEN, b"0" * 32)])
async def test_who_has_not_is_not(given: str | None) -> None:
    (start, body) = await said(key=given)
    assert (start["status"], json.loads(body["body"])["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("given", [None, "0" * 64])
async def test_nor_by_a_websocket(given: str | None) -> None:
    assert await said("websocket", key=given) == [{"type": "websocket.close", "code": 1008}]


async def test_proofs_are_for_whoever_asks_and_none_of_them_is_the_key() -> None:
    (start, body) = await said(path=STATE, query=b"nonce=" + b"0" * 32)
    assert start["status"] == 200
    assert json.loads(body["body"])["proof"] == proof_of(TOKEN, b"0" * 32) != KEY


@pytest.mark.parametrize(
    "nonce", [b"", b"request", b"key", b"key%00", b"0" * 31, b"0" * 33, b"G" * 32, b"0" * 32 + b"%0A"]
)
async def test_what_is_no_nonce_is_not_proven(nonce: bytes) -> None:
    (start, body) = await said(path=STATE, query=b"nonce=" + nonce)
    assert start["status"] == 400
    assert "proof" not in json.loads(body["body"])


@pytest.mark.server
@pytest.mark.parametrize("options", [host.SAFE_PATH, host.SAFE_PATH_BEFORE])
def test_a_script_is_run_without_imports_from_its_folder(tmp_path: Path, options: Sequence[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\ntry:\n import neighbour\nexcept ImportError:\n print(__name__, *sys.argv[1:])")
    (tmp_path / "neighbour.py").write_text("")
    command = [sys.executable, *options, str(script), "--door", "a b"]
    assert subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout == b"__main__ --door a b\n"


def test_the_arbiter_repeats_what_runs_a_script_because_both_stand_alone() -> None:
    assert (arbiter.SAFE_PATH, arbiter.SAFE_PATH_BEFORE) == (host.SAFE_PATH, host.SAFE_PATH_BEFORE)


def test_an_earlier_python_gets_no_option_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "flags", object())
    command = arbiter._through_worker(["-m", arbiter.MODULE, "service:Atelier", "--fd", "5"])
    assert command == [*arbiter.SAFE_PATH_BEFORE, str(arbiter.WORKER), "service:Atelier", "--fd", "5"]
