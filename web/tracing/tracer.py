"""What records spans, and what it gives for each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import Protocol

Value = str | int | float | bool


class Kind(Enum):
    """What a span is of."""

    SERVER = auto()
    """A request that came here."""
    CLIENT = auto()
    """A request to another process."""
    INTERNAL = auto()
    """Work, or a wait, in this process."""


class Span(Protocol):
    """A span that is being recorded."""

    def set(self, name: str, value: Value) -> None:
        """Record an attribute."""

    def fail(self, reason: str) -> None:
        """Record that it failed; the reason names a kind of failure, not a message of another library."""


class Tracer(Protocol):
    """Records spans, and sends them."""

    def span(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> AbstractContextManager[Span]:
        """Record a block as a span of the present trace; within it, the trace is at that span."""

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""


class Unrecorded:
    """The span of a process that records none."""

    def set(self, name: str, value: Value) -> None:
        """Do nothing."""

    def fail(self, reason: str) -> None:
        """Do nothing."""
