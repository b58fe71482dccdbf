"""Errors as every front of the management answers them: one JSON shape, in the caller's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.types import Scope

from management.errors import InvalidRequest, ManagementError
from management.wording import messages
from management.wording.messages import Language, language_of
from web.answers import timestamp
from web.error_shape import ErrorResponse, Headers
from web.json import strict_json

ERROR_HEADER: Final = b"x-atelier-error"
"""Header with the code of an error that is the management's own and not a model's."""
EDGE_CODES: Final = {"INVALID_INPUT": InvalidRequest.code}
"""Codes of the outermost layer, each with its name in this API."""


def error_body(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an error in the document's shape."""
    return {
        "status": "error",
        "error": {"code": code, "message": message, "details": dict(details)},
        "timestamp": timestamp(),
    }


def of_error(error: ManagementError, spoken: Language) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of an error."""
    message = getattr(error, "message", None) or messages.text(messages.ERRORS, error.wording or error.code, spoken)
    details = error.details
    if isinstance(error, InvalidRequest) and error.problems:
        problems = [messages.problem(item.field, item.kind, spoken, **item.values) for item in error.problems]
        details = {**details, "problems": problems}
    return error.status, error_body(error.code, message, details)


class ApiErrorFormatter:
    """Formats the refusals of the outermost layer like the API's own errors."""

    def __init__(self, default: Callable[[], Language], *, marked: bool = False) -> None:
        """``default`` is the language of requests that name none; ``marked`` adds ``ERROR_HEADER``."""
        self._default, self._marked = default, marked

    def format_error(self, response: ErrorResponse, scope: Scope) -> tuple[Headers, bytes]:
        """The body of a refusal, and the header that marks it as the management's where a model answers, too."""
        code = EDGE_CODES.get(response.code, response.code)
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), None)
        spoken = language_of(accept, self._default())
        known = code if code in messages.ERRORS else "INTERNAL_ERROR"
        if self._marked and response.status == 415:  # a model takes any other body
            known = "PICKLE_REFUSED"
        body = strict_json.dumps(error_body(code, messages.text(messages.ERRORS, known, spoken), {}))
        return ([(ERROR_HEADER, code.encode())] if self._marked else []), body
