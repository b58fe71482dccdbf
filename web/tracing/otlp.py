"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP. The only module that imports it, and only where it is wanted.

The provider is this module's own, not the process's global one, which BentoML sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from web.tracing import context
from web.tracing.context import TraceContext
from web.tracing.tracer import Kind, Value

SERVICE: Final = "atelier"
"""Name of the service, where ``OTEL_SERVICE_NAME`` gives no other."""
SEND_SECONDS: Final = 2.0
"""Seconds that the receiver has to take a batch. A slow one loses spans, and holds up no request and no end."""
_KINDS: Final = {Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT, Kind.INTERNAL: SpanKind.INTERNAL}


class OtlpTracer:
    """Records spans, and sends them in batches from a thread of its own."""

    def __init__(self, endpoint: str, sample: float) -> None:
        """``sample`` is the fraction of the traces that begin here; of others the caller has decided."""
        resource = Resource({"service.name": SERVICE}).merge(Resource.create())
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": SERVICE}))
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)), resource=resource, shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=SEND_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)

    @contextmanager
    def span(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> Iterator[_OtlpSpan]:
        """Record a block as a span of the present trace; within it, the trace is at that span."""
        started = self._tracer.start_span(name, _entered(context.current.get()), _KINDS[kind], dict(attributes))
        token = context.current.set(_left(started.get_span_context()))
        opened = _OtlpSpan(started)
        try:
            yield opened
        except BaseException as error:
            opened.fail(type(error).__name__)  # no message: it may quote what a caller sent
            raise
        finally:
            context.current.reset(token)
            started.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class _OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: Value) -> None:
        """Record an attribute."""
        self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        """Record that it failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))


def _entered(parent: TraceContext | None) -> Context:
    """Return OpenTelemetry's form of a place in a trace; without one, a new trace begins."""
    if parent is None:
        return Context()
    state = TraceState.from_header([parent.state]) if parent.state else None
    flags = TraceFlags(parent.flags)
    found = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags, state)
    return trace.set_span_in_context(NonRecordingSpan(found), Context())


def _left(span: SpanContext) -> TraceContext:
    state = span.trace_state.to_header()
    return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}", int(span.trace_flags), state)
