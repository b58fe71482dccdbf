"""The one shape of every error answer: ``{"error": message, "code": CODE}``, and the way to it from everyone else's."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol

from starlette.types import Scope

from web.json import strict_json

LONGEST_TEXT: Final = 200
"""Characters of a plain text answer that may become the message."""

ERRORS: Final = {
    400: ("INVALID_INPUT", "Invalid request"),
    401: ("UNAUTHORIZED", "Authentication is required"),
    403: ("FORBIDDEN", "Not allowed"),
    404: ("NOT_FOUND", "Endpoint not found"),
    405: ("METHOD_NOT_ALLOWED", "Method not allowed"),
    408: ("REQUEST_TIMEOUT", "The body did not arrive in time"),
    413: ("PAYLOAD_TOO_LARGE", "The body is too large"),
    415: ("UNSUPPORTED_MEDIA_TYPE", "Unsupported media type"),
    422: ("INVALID_INPUT", "Invalid request"),
    429: ("TOO_MANY_REQUESTS", "Too many requests"),
    500: ("INTERNAL_ERROR", "Internal server error"),
    502: ("UPSTREAM_FAILED", "An upstream server failed"),
    503: ("OVERLOADED", "Not able to serve now, try again later"),
    504: ("TIMEOUT", "The request took too long"),
}


def shape(message: str, code: str) -> dict[str, Any]:
    """The object that every error answer is; more may be put beside."""
    return {"error": message, "code": code}


class Refusal(NamedTuple):
    """An error answer before it is bytes."""

    status: int
    message: str
    code: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """What goes out with it, such as ``www-authenticate``."""

    def body(self) -> bytes:
        """As it leaves."""
        return strict_json.dumps(shape(self.message, self.code))


class Voice(Protocol):
    """How a part with error answers of its own words those that the outermost layer gives in it."""

    def refused(self, refusal: Refusal, scope: Scope) -> bytes:
        """The JSON of the answer; ``scope`` is the application's, with what a guard has put into it."""


def refusal(status: int, message: str | None = None, code: str | None = None) -> Refusal:
    """The status with the table's words where none are given."""
    usual_code, usual_message = ERRORS.get(status) or ERRORS[400 if status < 500 else 500]
    return Refusal(status, message or usual_message, code or usual_code)


OVERLOADED: Final = refusal(503)._replace(headers=((b"retry-after", b"2"),))
"""What is said where there is no room for one more, and will be soon."""


def too_large(limit: int, message: str | None = None) -> Refusal:
    """A body of more bytes than the limit."""
    return refusal(413, message or f"The body is larger than {limit} bytes")


def reshaped(status: int, content_type: bytes, inner: bytes) -> bytes:
    """Another layer's error body in our shape; of a 5xx that is not in it already, nothing is told."""
    value = _parsed(inner)
    if isinstance(value.get("error"), str) and isinstance(value.get("code"), str):
        return inner
    if status >= 500:
        return refusal(status).body()
    if value:
        return _from_object(status, value)
    return refusal(status, _from_text(status, content_type, inner)).body()


def _parsed(inner: bytes) -> dict[str, Any]:
    """The object, also out of the list of one that BentoML sends by mistake; empty when there is none."""
    try:
        value = strict_json.loads(inner)
    except strict_json.InvalidJSON:
        return {}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else {}


def _from_object(status: int, value: dict[str, Any]) -> bytes:
    """FastAPI's ``detail`` is the message when it is text, and stays beside it when it is a list of mistakes."""
    kept = {key: item for key, item in value.items() if key not in {"error", "code"}}
    text = value.get("error")
    if text is None and isinstance(kept.get("detail"), str):
        text = kept.pop("detail")
    plain = refusal(status, text if isinstance(text, str) and not _is_phrase(status, text) else None)
    return strict_json.dumps({**shape(plain.message, plain.code), **kept})


def _from_text(status: int, content_type: bytes, inner: bytes) -> str | None:
    """A short line of plain text that says more than the status does."""
    text = inner.decode(errors="replace").strip()
    told = content_type.lower().startswith(b"text/plain") and len(text) <= LONGEST_TEXT and text.isprintable()
    return text if told and not _is_phrase(status, text) else None


def _is_phrase(status: int, text: str) -> bool:
    """Whether it is the status's standard phrase, such as ``Not Found``: our own table has better words."""
    return any(text.lower() == one.phrase.lower() for one in HTTPStatus if one == status)
