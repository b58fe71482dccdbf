"""Errors as the API answers them: in the document's JSON shape and in the caller's language."""

from __future__ import annotations

from typing import Final, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope

from management.api.parsing import language
from management.errors import ManagementError, MethodNotAllowed, RouteNotFound
from management.wording.errors import of_error
from web.answers import JSONAnswer

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def install_error_handlers(app: FastAPI) -> None:
    """Make the application answer all errors in the document's shape."""
    app.add_exception_handler(ManagementError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_failure)


def _answer_error(request: Request, error: Exception) -> Response:
    error = cast("ManagementError", error)
    status, body = of_error(error, language(request))
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONAnswer(body, status_code=status, headers=headers)


def _answer_failure(request: Request, _: Exception) -> Response:
    """An unexpected error: the answer says only that it happened, and the log has the details."""
    return _answer_error(request, ManagementError())


def _answer_http(request: Request, error: Exception) -> Response:
    """An error that the framework raises: an unknown path, or a method that the path does not have."""
    error = cast("HTTPException", error)
    answer = _answer_error(request, MethodNotAllowed() if error.status_code == 405 else RouteNotFound())
    answer.headers.update(error.headers or {})
    if error.status_code == 405 and (allowed := _allowed(request)):
        answer.headers["Allow"] = ", ".join(allowed)
    return answer


def _allowed(request: Request) -> list[str]:
    """The methods of every route with this path; the framework names only those of the first route."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]  # a mount matches any method
    return [method for method in METHODS if any(_has(route, request.scope, method) for route in routes)]


def _has(route: BaseRoute, scope: Scope, method: str) -> bool:
    """Whether a route answers the method; HEAD is answered wherever GET is."""
    matched = "GET" if method == "HEAD" else method
    return route.matches({**scope, "method": matched})[0] is Match.FULL
