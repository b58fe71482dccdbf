"""What a caller of a model's own address may ask for in headers: how long to wait, and how urgent it is."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from management.domain.bento import Bento
from management.domain.records import LONGEST_TIMEOUT
from management.errors import InvalidRequest, Problem
from management.gateway.call import CallOptions
from management.gateway.priority import Priority

TIMEOUT_HEADER: Final = "X-Atelier-Timeout"
PRIORITY_HEADER: Final = "X-Atelier-Priority"
DEFAULT_SECONDS: Final = 60.0
"""Seconds until the deadline of a Bento that names no ``traffic.timeout``: BentoML's own default."""


def options_of(scope: Scope, bento: Bento | None, size: int = 0) -> CallOptions:
    """Return the options of a request. Raises InvalidRequest for a header that means nothing."""
    timeout = bento.traffic.timeout if bento is not None else None
    usual = timeout or DEFAULT_SECONDS
    given = {name: _one(scope, name) for name in (TIMEOUT_HEADER, PRIORITY_HEADER)}
    return CallOptions(
        priority=_priority(given[PRIORITY_HEADER]),
        seconds=_seconds(given[TIMEOUT_HEADER], usual),
        request_id=scope["state"]["request_id"],
        size=size,
    )


def _one(scope: Scope, name: str) -> str | None:
    values = [value for key, value in scope["headers"] if key == name.lower().encode()]
    if len(values) > 1:
        raise InvalidRequest(Problem(name, "header"))
    return values[0].decode("latin-1").strip() if values else None


def _seconds(given: str | None, usual: float) -> float:
    if given is None:
        return usual
    longest = max(LONGEST_TIMEOUT, usual)
    if not (given.isascii() and given.replace(".", "", 1).isdigit()) or not 0 < float(given) <= longest:
        raise InvalidRequest(Problem(TIMEOUT_HEADER, "header_seconds", {"expected": f"{longest:g}"}))
    return float(given)


def _priority(given: str | None) -> Priority:
    if given is None:
        return Priority.NORMAL
    try:
        return Priority[given.upper()]
    except KeyError:
        raise InvalidRequest(Problem(PRIORITY_HEADER, "header_priority")) from None
