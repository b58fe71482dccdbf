"""Spans of real requests: of the edge, the queue and the replica, in the trace of the caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.otlp import ReceivedSpan, Receiver, receiving
from tests.support.calls import deploy, infer, until
from tests.support.management_servers import Management, managing
from tests.support.servers import free_port

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra tracing is not installed")
pytestmark = pytest.mark.server

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
SERVER, CLIENT = 2, 3


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def server(echo_bentos: Path, receiver: Receiver) -> Iterator[Management]:
    endpoint = receiver.url
    with managing(echo_bentos, ATELIER_TRACES_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="50") as running:
        with running.client() as api:
            assert deploy(api).status_code == 200
        yield running


def awaited(receiver: Receiver, trace_id: str, count: int) -> list[ReceivedSpan]:
    def found() -> list[ReceivedSpan]:
        return [span for span in receiver.spans if span.trace_id == trace_id]

    until(lambda: len(found()) >= count, 10)
    return found()


@pytest.mark.parametrize("path", ["/api/v1/models/echo/inference", "/models/echo/infer"])
def test_a_call_has_three_spans_in_the_trace_of_its_caller(server: Management, receiver: Receiver, path: str) -> None:
    receiver.spans.clear()
    item = {"input_data": {"a": 1}}
    with server.client() as client:
        body = item if path.startswith("/api") else {"requests": [item]}
        answer = client.post(f"{server.url}{path}", json=body, headers={**PARENT, "X-Request-ID": "the-id"})
    assert answer.status_code == 200, answer.text
    spans = {span.name: span for span in awaited(receiver, TRACE, 3)}
    edge = spans[f"POST {'/api/v1' if path.startswith('/api') else '/models'}"]
    assert (edge.parent_id, edge.kind, edge.service) == (SPAN, SERVER, "atelier")
    assert edge.attributes["http.response.status_code"] == 200
    assert edge.attributes["atelier.request_id"] == "the-id"
    assert spans["queue"].parent_id == spans["replica"].parent_id == edge.span_id
    assert spans["replica"].kind == CLIENT
    assert spans["replica"].attributes["atelier.model_id"] == "echo"
    assert len(spans["replica"].attributes["atelier.replica_id"]) == 32
    assert not any(span.failed for span in spans.values())


def test_a_trace_begins_here_where_the_caller_has_none(server: Management, receiver: Receiver) -> None:
    receiver.spans.clear()
    with server.client() as client:
        assert infer(client, {"a": 1}).status_code == 200
    until(lambda: len(receiver.spans) >= 3, 10)
    (edge,) = receiver.named("POST /api/v1")
    assert edge.parent_id == ""
    assert {span.trace_id for span in receiver.spans} == {edge.trace_id}


def test_a_trace_that_its_caller_does_not_sample_is_not_recorded(server: Management, receiver: Receiver) -> None:
    receiver.spans.clear()
    with server.client() as client:
        infer(client, {"a": 1}).raise_for_status()
        client.get("/models", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
        client.get("/models", headers={"traceparent": f"00-{'a' * 32}-{SPAN}-01"})
    awaited(receiver, "a" * 32, 1)
    assert [span for span in receiver.spans if span.trace_id == TRACE] == []


def test_a_failed_call_says_so_without_any_text_of_the_request(server: Management, receiver: Receiver) -> None:
    receiver.spans.clear()
    with server.client() as client:
        assert infer(client, {"crash": True}).status_code in (502, 503)
    until(lambda: bool(receiver.named("replica")), 10)
    until(lambda: bool(receiver.named("POST /api/v1")), 10)
    assert receiver.named("replica")[0].failed
    assert receiver.named("POST /api/v1")[0].failed


def test_other_paths_of_a_model_have_the_same_spans(server: Management, receiver: Receiver) -> None:
    receiver.spans.clear()
    with server.client() as client:
        until(lambda: infer(client, {"a": 1}).status_code == 200)
        client.get(f"{server.url}/models/echo/livez", headers=PARENT)
    spans = {span.name: span for span in awaited(receiver, TRACE, 3)}
    assert spans["replica"].parent_id == spans["GET /models"].span_id


def test_a_receiver_that_is_not_there_delays_neither_a_call_nor_the_end(echo_bentos: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}/v1/traces"
    with managing(echo_bentos, ATELIER_TRACES_ENDPOINT=endpoint) as server:
        with server.client() as client:
            began = time.monotonic()
            for _ in range(50):
                assert client.get("/models").status_code == 200
            assert time.monotonic() - began < 5
        began = time.monotonic()
    assert time.monotonic() - began < 15
