"""Results and errors as HTTP responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from runners.contract import InferenceResult
from runners.errors import InvalidInput, RunnerError
from web.answers import JSONAnswer
from web.error_shape import shape

RETRY_SECONDS: Final = 2
"""Seconds after which a client should retry a model that is starting or busy."""


def batch_response(results: Sequence[InferenceResult]) -> JSONAnswer:
    """Return a batch's results as a response: an output or an error for each item, in order."""
    contents = [
        shape(result.error.message, result.error.code) if result.error else result.output_data for result in results
    ]
    return JSONAnswer({"results": contents})


def install_error_handlers(app: FastAPI) -> None:
    """Render the application's errors in the common error shape."""
    app.add_exception_handler(RunnerError, answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


def answer_error(_: Request, error: Exception) -> Response:
    """Return a RunnerError as a response with its status; 503 has a ``Retry-After`` header."""
    error = cast("RunnerError", error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else None
    return JSONAnswer(shape(error.message, error.code), status_code=error.status, headers=headers)


def _answer_invalid(request: Request, _: Exception) -> Response:
    return answer_error(request, InvalidInput("the request is not valid"))
