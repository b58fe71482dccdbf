"""How the API answers: results as JSON, errors in the document's shape and the caller's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope

from management.api import messages
from management.api.messages import Language, language_of
from management.api.parsing import language
from management.errors import InvalidRequest, ManagementError, MethodNotAllowed, RouteNotFound
from web.answers import JSONAnswer, timestamp
from web.error_shape import ErrorResponse
from web.json import strict_json

EDGES_CODES: Final = {"INVALID_INPUT": InvalidRequest.code}
"""The outermost layer's codes that have another name here."""
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def error_body(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """The document's shape of an error."""
    return {
        "status": "error",
        "error": {"code": code, "message": message, "details": dict(details)},
        "timestamp": timestamp(),
    }


def of_error(error: ManagementError, spoken: Language) -> tuple[int, dict[str, Any]]:
    """Status and body."""
    message = getattr(error, "message", None) or messages.text(messages.ERRORS, error.wording or error.code, spoken)
    details = error.details
    if isinstance(error, InvalidRequest) and error.problems:
        worded = [messages.problem(one.field, one.kind, spoken, **one.values) for one in error.problems]
        details = {**details, "problems": worded}
    return error.status, error_body(error.code, message, details)


class ApiErrorFormatter:
    """What the outermost layer refuses, in the API's words."""

    def __init__(self, default: Callable[[], Language]) -> None:
        """``default`` is the language of requests that name none."""
        self._default = default

    def format_error(self, response: ErrorResponse, scope: Scope) -> bytes:
        """The body."""
        code = EDGES_CODES.get(response.code, response.code)
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), None)
        spoken = language_of(accept, self._default())
        known = code if code in messages.ERRORS else "INTERNAL_ERROR"
        return strict_json.dumps(error_body(code, messages.text(messages.ERRORS, known, spoken), {}))


def install_error_handlers(app: FastAPI) -> None:
    """Gives the application's errors their shape."""
    app.add_exception_handler(ManagementError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_failure)


def _answer_error(request: Request, error: Exception) -> Response:
    error = cast("ManagementError", error)
    status, body = of_error(error, language(request))
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONAnswer(body, status_code=status, headers=headers)


def _answer_failure(request: Request, _: Exception) -> Response:
    """Nothing is told of it but that it happened; the log has it."""
    return _answer_error(request, ManagementError())


def _answer_http(request: Request, error: Exception) -> Response:
    """What the framework raises: an unknown path, or a method that a path does not have."""
    error = cast("HTTPException", error)
    answer = _answer_error(request, MethodNotAllowed() if error.status_code == 405 else RouteNotFound())
    answer.headers.update(error.headers or {})
    if error.status_code == 405 and (allowed := _allowed(request)):
        answer.headers["Allow"] = ", ".join(allowed)
    return answer


def _allowed(request: Request) -> list[str]:
    """The methods of every route that has the path; the framework names those of the first one only."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]  # a mount matches any method
    return [method for method in METHODS if any(_has(route, request.scope, method) for route in routes)]


def _has(route: BaseRoute, scope: Scope, method: str) -> bool:
    """HEAD is answered wherever GET is."""
    asked = "GET" if method == "HEAD" else method
    return route.matches({**scope, "method": asked})[0] is Match.FULL
