"""The trace of a call reaches the replica, whether spans are recorded or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from starlette.types import Receive, Scope, Send

from management.gateway.call import Call
from management.gateway.replica_client import ReplicaClient
from tests.doubles.otlp import receiving
from web.edge.middleware import Edge, Limits
from web.settings import Settings
from web.tracing import spans

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[list[dict[str, str]]]:
    """The traces of the requests that a replica on ``tmp_path/s`` gets."""
    found: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        found.append({name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers})
        return web.json_response([{"output_data": {}, "error": None, "confidence": None}])

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    yield found
    await runner.cleanup()


async def call(tmp_path: Path, headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Send a request with these headers through an edge, and call the replica while it is served, in both ways.

    Returns the headers that the application behind the edge sees.
    """
    inner: dict[str, str] = {}
    client = ReplicaClient(f"unix:{tmp_path / 's'}")

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        inside = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        inner.update(inside)
        (await client.open(Call("GET", "/", "/", inside, b""))).close()
        await client.infer([{"input_data": {}, "parameters": {}}], "id")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: object) -> None:
        """Take the answer."""

    edge = Edge(serve, name="test", routes=lambda _: True, limits=Limits(1000, 10.0, 10.0))
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "state": {}, "client": None}
    try:
        await edge(scope, receive, send)
    finally:
        await client.close()
    return inner


async def test_a_callers_trace_is_passed_on_unchanged(seen: list[dict[str, str]], tmp_path: Path) -> None:
    inner = await call(tmp_path, [(b"traceparent", PARENT.encode()), (b"tracestate", b"vendor=1")])
    assert seen == [{"traceparent": PARENT, "tracestate": "vendor=1"}] * 2
    assert (inner["traceparent"], inner["tracestate"]) == (PARENT, "vendor=1")


@pytest.mark.parametrize("headers", [[], [(b"traceparent", b"no trace")], [(b"tracestate", b"vendor=1")]])
async def test_where_there_is_no_trace_none_is_begun(
    seen: list[dict[str, str]], tmp_path: Path, headers: list[tuple[bytes, bytes]]
) -> None:
    await call(tmp_path, headers)
    assert seen == [{}, {}]


async def test_where_spans_are_recorded_the_replica_is_called_by_a_span_of_the_same_trace(
    seen: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra tracing is not installed")
    with receiving() as receiver:
        monkeypatch.setattr(spans, "settings", lambda: Settings(traces_endpoint=receiver.url, traces_sample=0.0))
        spans.start()
        try:
            inner = await call(tmp_path, [(b"traceparent", PARENT.encode()), (b"tracestate", b"vendor=1")])
            await call(tmp_path, [])
        finally:
            spans.stop()
    (edge,) = receiver.spans
    assert (edge.trace_id, edge.parent_id, edge.name) == (TRACE, SPAN, "GET /")
    assert seen[:2] == [{"traceparent": f"00-{TRACE}-{edge.span_id}-01", "tracestate": "vendor=1"}] * 2
    assert inner["traceparent"] == f"00-{TRACE}-{edge.span_id}-01", "what is served here continues the same trace"
    sampled = int(seen[2]["traceparent"].rpartition("-")[2], 16) & 1
    assert not sampled, "a trace that begins here is sampled as the setting says"


@pytest.mark.parametrize("wrong", ["localhost:4318", "ftp://x/v1/traces"])
def test_an_endpoint_that_is_no_url_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be a URL"):
        Settings(traces_endpoint=wrong)
