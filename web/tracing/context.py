"""The trace that a request belongs to: W3C Trace Context, taken from a caller and passed on to whatever is called.

It costs nothing but two headers, so it is done whether spans are recorded or not. A trace that no caller began, is
begun only where spans are recorded: an unsampled one would keep a model from recording its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
MAX_STATE_CHARACTERS: Final = 512
"""Characters of the longest ``tracestate`` that is passed on: what every participant has to accept."""
_PARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?\Z",
    re.ASCII,
)
_STATE: Final = re.compile(r"[\x20-\x7e]+\Z", re.ASCII)


@dataclass(frozen=True)
class TraceContext:
    """A place in a trace: the span that what follows is a part of."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int
    """Bit 0: whether the trace is sampled."""
    state: str = ""
    """What vendors keep in ``tracestate``; empty without any."""

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that tell it to a callee."""
        parent = (PARENT, f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}")
        return [parent, *([(STATE, self.state)] if self.state else [])]


current: Final[ContextVar[TraceContext | None]] = ContextVar("trace", default=None)
"""The trace of the present request; None outside a trace."""


def of_headers(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the trace in a request's headers; None without a valid one, which begins no trace."""
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    found = _PARENT.match(parents[0].decode("latin-1").strip()) if len(parents) == 1 else None
    if found is None or (found["version"] == "00" and found["rest"]):
        return None
    state = ",".join(value.decode("latin-1").strip() for value in states)
    kept = state if len(state) <= MAX_STATE_CHARACTERS and _STATE.match(state) else ""
    return TraceContext(found["trace"], found["span"], int(found["flags"], 16), kept)


def passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return a request's headers with the present trace in place of any other."""
    others = [(name, value) for name, value in headers if name.lower() not in (PARENT, STATE)]
    trace = current.get()
    return others if trace is None else [*others, *trace.headers()]
