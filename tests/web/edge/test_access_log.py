"""The line that each request leaves behind."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.doubles.asgi import Answers, Client, Echoes, Headers, ask
from web.edge.access_log import PROBES, configure_access_log, logger
from web.edge.middleware import Edge, Limits

LIMITS = Limits(body_bytes=100, request_seconds=60, body_seconds=60)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard output while the log is set up; set up twice, as by two services in one process."""
    text = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", text)
        configure_access_log()
        configure_access_log()
    yield text
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


async def line_of(output: io.StringIO, app: ASGIApp, path: str = "/echo", **request: Any) -> dict[str, Any]:
    await ask(Edge(app, name="cats", limits=LIMITS, routes=lambda _: True), path, **request)
    (line,) = output.getvalue().splitlines()
    entry = json.loads(line)
    assert isinstance(entry, dict)
    return entry


async def test_a_line_says_who_asked_what_and_how_it_went(output: io.StringIO) -> None:
    secret: Headers = [(b"x-request-id", b"r-1"), (b"authorization", b"secret")]
    entry = await line_of(output, Echoes(), headers=secret, client=Client([b"abc", b"de"]))
    assert datetime.fromisoformat(entry.pop("time")).tzinfo
    assert 0 <= entry.pop("ms") < 5000
    assert entry == {
        "service": "cats",
        "request_id": "r-1",
        "method": "POST",
        "path": "/echo",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 5,
        "client": "10.0.0.1",
    }


async def test_a_path_cannot_forge_a_line_or_steer_a_terminal(output: io.StringIO) -> None:
    path = '/a\n{"status": 200}\r\x1b[2J\u2028\u2029\x85"'
    assert (await line_of(output, Answers(404), path))["path"] == path
    assert output.getvalue().rstrip("\n").isprintable()
    assert output.getvalue().isascii()


async def test_a_refusal_is_logged_with_its_status(output: io.StringIO) -> None:
    assert (await line_of(output, Echoes(), client=Client([b"a" * 101])))["status"] == 413


async def test_a_caller_who_left_unanswered_is_logged_as_such(output: io.StringIO) -> None:
    entry = await line_of(output, Echoes(), client=Client([b"a"], ends=False, leaves=True))
    assert (entry["status"], entry["bytes_out"]) == (499, 0)


@pytest.mark.parametrize("path", sorted(PROBES))
async def test_only_failing_probes_are_worth_a_line(output: io.StringIO, path: str) -> None:
    assert (await line_of(output, Answers(503), path))["status"] == 503
    await line_of(output, Answers(200), path)
