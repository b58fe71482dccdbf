"""Errors as BentoML's client shows them: it prints the body as it is, behind the status."""

from __future__ import annotations

from typing import Final, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from management.errors import ManagementError, MethodNotAllowed, RouteNotFound
from management.wording import messages
from management.wording.errors import of_error
from management.wording.messages import Language, language_of
from web.answers import JSONAnswer
from web.error_shape import ErrorResponse, Headers
from web.json import strict_json

NOT_FOUND: Final = "record not found"
"""Words in an error that the client takes for 404, whatever its status. A field that a caller names may have them."""
DEFAULT: Final[Language] = "en"
"""Language of the client, which never names one."""


def sentence(error: ManagementError, language: Language = DEFAULT) -> str:
    """Return the error as one line: what is wrong, and each problem."""
    _, body = of_error(error, language)
    told = body["error"]
    problems = [
        " ".join(filter(None, (each["field"], each["message"]))) for each in told["details"].get("problems", ())
    ]
    log = [str(line) for line in told["details"].get("log", ())]
    return "\n".join([": ".join(filter(None, (told["message"], "; ".join(problems)))), *log])


def answer_error(request: Request, error: Exception) -> Response:
    """Answer an error of the management."""
    error = cast("ManagementError", error)
    language = language_of(request.headers.get("accept-language"), DEFAULT)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONAnswer(_body(error.code, sentence(error, language)), status_code=error.status, headers=headers)


def answer_failure(request: Request, _: Exception) -> Response:
    """Answer an unexpected error, of which the log has the details."""
    return answer_error(request, ManagementError())


def answer_http(request: Request, error: Exception) -> Response:
    """Answer an unknown path, or a method that a path does not have."""
    error = cast("HTTPException", error)
    return answer_error(request, MethodNotAllowed() if error.status_code == 405 else RouteNotFound())


def _body(code: str, message: str) -> dict[str, str]:
    return {"error": message.replace(NOT_FOUND, NOT_FOUND.replace(" ", "-")), "code": code}


class ClientErrorFormatter:
    """Formats the refusals of the outermost layer like the errors of this section."""

    def format_error(self, response: ErrorResponse, scope: Scope) -> tuple[Headers, bytes]:
        """The body of a refusal."""
        known = response.code if response.code in messages.ERRORS else "INTERNAL_ERROR"
        message = messages.text(messages.ERRORS, known, DEFAULT)
        return [], strict_json.dumps(_body(response.code, message))
