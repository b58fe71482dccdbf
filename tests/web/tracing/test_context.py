"""W3C Trace Context: which headers are a place in a trace, and what is passed on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from web.tracing import context
from web.tracing.context import TraceContext, of_headers, passed_on

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_callers_trace_is_read_and_told_to_the_next() -> None:
    found = of_headers([(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")])
    assert found == TraceContext(TRACE, SPAN, 1, "a=1,b=2")
    assert found.headers() == [("traceparent", PARENT), ("tracestate", "a=1,b=2")]


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01\r\nX-Other: 1",
    ],
)
def test_what_is_no_trace_is_not_passed_on(parent: str) -> None:
    assert of_headers([(b"traceparent", parent.encode())]) is None


def test_two_traces_are_none_and_a_later_version_may_have_more() -> None:
    assert of_headers([(b"traceparent", PARENT.encode())] * 2) is None
    assert of_headers([(b"traceparent", f"01-{TRACE}-{SPAN}-01-more".encode())]) == TraceContext(TRACE, SPAN, 1)


@pytest.mark.parametrize("state", [b"a" * 513, b"a=\x00", b"a=\xff"])
def test_a_state_that_is_too_long_or_unprintable_is_left_out(state: bytes) -> None:
    assert of_headers([(b"traceparent", PARENT.encode()), (b"tracestate", state)]) == TraceContext(TRACE, SPAN, 1)


def test_the_present_trace_takes_the_place_of_any_other() -> None:
    given = [("Accept", "*/*"), ("Traceparent", "old"), ("tracestate", "old")]
    assert passed_on(given) == [("Accept", "*/*")]
    token = context.current.set(TraceContext(TRACE, SPAN, 0))
    try:
        assert passed_on(given) == [("Accept", "*/*"), ("traceparent", f"00-{TRACE}-{SPAN}-00")]
    finally:
        context.current.reset(token)


@pytest.mark.server
def test_nothing_of_the_recorder_is_imported_unless_an_endpoint_is_set() -> None:
    code = (
        "import sys\nfrom web.tracing import spans\nspans.start()\n"
        "with spans.request([], lambda: ('GET /', {})) as span: span.set('a', 1)\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
