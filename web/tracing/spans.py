"""Spans: what a request spent its time on. Nothing is recorded, or imported for it, unless an endpoint is set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from web.settings import settings
from web.tracing import context
from web.tracing.tracer import Kind, Span, Tracer, Unrecorded, Value


class _Recording:
    """The tracer of this process; None while none is open."""

    tracer: Tracer | None = None


_NOTHING: Final = Unrecorded()


def start() -> None:
    """Begin to record, if an endpoint is set; a second call has no further effect."""
    if settings().traces_endpoint and _Recording.tracer is None:
        from web.tracing.otlp import OtlpTracer

        _Recording.tracer = OtlpTracer(str(settings().traces_endpoint), settings().traces_sample)


def stop() -> None:
    """Send what was recorded, and record nothing further."""
    tracer, _Recording.tracer = _Recording.tracer, None
    if tracer is not None:
        tracer.close()


def recorded() -> bool:
    """Return whether this process records spans."""
    return _Recording.tracer is not None


@contextmanager
def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] | None = None) -> Iterator[Span]:
    """Record a block as a span. An exception that leaves the block makes it a failed one."""
    if _Recording.tracer is None:
        yield _NOTHING
        return
    with _Recording.tracer.span(name, kind, attributes or {}) as opened:
        yield opened


@contextmanager
def request(
    headers: Iterable[tuple[bytes, bytes]], describe: Callable[[], tuple[str, Mapping[str, Value]]]
) -> Iterator[Span]:
    """Serve a request in the trace of its caller, as a span of this server.

    ``describe`` returns the name and the attributes; it is not called where nothing is recorded.
    """
    token = context.current.set(context.of_headers(headers))
    try:
        if _Recording.tracer is None:
            yield _NOTHING
        else:
            name, attributes = describe()
            with _Recording.tracer.span(name, Kind.SERVER, attributes) as opened:
                yield opened
    finally:
        context.current.reset(token)
