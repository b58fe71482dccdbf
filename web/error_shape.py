"""The common shape of every error response, ``{"error": message, "code": CODE}``, and conversions into it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol

from starlette.types import Scope

from web.json import strict_json

MAX_TEXT_CHARACTERS: Final = 200
"""Characters of the longest plain text body that becomes the message."""

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
    """Return the object that every error response contains; callers may add fields."""
    return {"error": message, "code": code}


class ErrorResponse(NamedTuple):
    """An error response before it is encoded."""

    status: int
    message: str
    code: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers, such as ``www-authenticate``."""

    def body(self) -> bytes:
        """Return the encoded JSON body."""
        return strict_json.dumps(shape(self.message, self.code))


Headers = list[tuple[bytes, bytes]]
"""Names and values of HTTP headers."""


class ErrorFormatter(Protocol):
    """Formats the outermost layer's errors for a section that has its own error shape."""

    def format_error(self, response: ErrorResponse, scope: Scope) -> tuple[Headers, bytes]:
        """Return further headers and the JSON body.

        ``scope`` is the application's, with the state that authentication put into it.
        """


def error_response(status: int, message: str | None = None, code: str | None = None) -> ErrorResponse:
    """Return an error response; message and code default to those of ``ERRORS``."""
    usual_code, usual_message = ERRORS.get(status) or ERRORS[400 if status < 500 else 500]
    return ErrorResponse(status, message or usual_message, code or usual_code)


OVERLOADED: Final = error_response(503)._replace(headers=((b"retry-after", b"2"),))
"""The response when capacity is exhausted for a short time."""


def too_large(limit: int, message: str | None = None) -> ErrorResponse:
    """Return the response to a body of more bytes than the limit."""
    return error_response(413, message or f"The body is larger than {limit} bytes")


def reshaped(status: int, content_type: bytes, inner: bytes) -> bytes:
    """Return another layer's error body in the common shape. A 5xx in any other shape loses its details."""
    value = _parsed(inner)
    if isinstance(value.get("error"), str) and isinstance(value.get("code"), str):
        return inner
    if status >= 500:
        return error_response(status).body()
    if value:
        return _from_object(status, value)
    return error_response(status, _from_text(status, content_type, inner)).body()


def _parsed(inner: bytes) -> dict[str, Any]:
    """Return the JSON object, or an empty one. BentoML sometimes wraps the object into a list of one item."""
    try:
        value = strict_json.loads(inner)
    except strict_json.InvalidJSON:
        return {}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else {}


def _from_object(status: int, value: dict[str, Any]) -> bytes:
    """Convert an object. FastAPI's ``detail`` becomes the message if it is text; a list of mistakes stays a field."""
    kept = {key: item for key, item in value.items() if key not in {"error", "code"}}
    text = value.get("error")
    if text is None and isinstance(kept.get("detail"), str):
        text = kept.pop("detail")
    plain = error_response(status, text if isinstance(text, str) and not _is_phrase(status, text) else None)
    return strict_json.dumps({**shape(plain.message, plain.code), **kept})


def _from_text(status: int, content_type: bytes, inner: bytes) -> str | None:
    """Return a short plain text body, unless it only repeats the status."""
    text = inner.decode(errors="replace").strip()
    readable = (
        content_type.lower().startswith(b"text/plain") and len(text) <= MAX_TEXT_CHARACTERS and text.isprintable()
    )
    return text if readable and not _is_phrase(status, text) else None


def _is_phrase(status: int, text: str) -> bool:
    """Return whether the text is the status's standard phrase, such as ``Not Found``; ``ERRORS`` says more."""
    return any(text.lower() == standard.phrase.lower() for standard in HTTPStatus if standard == status)
