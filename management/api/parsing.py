"""Requests into bodies and parameters. One error reports all problems, field by field."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from management.api import bounds, messages
from management.api.messages import Language, language_of
from management.errors import InvalidRequest, Problem, UnsupportedMediaType
from web.json import strict_json, work
from web.json.strict_json import InvalidJSON

MAX_PROBLEMS: Final = 50
"""Problems that one error reports."""

Model = TypeVar("Model", bound=BaseModel)
Context = Mapping[str, Any]
NO_CONTEXT: Final[Context] = {}


async def body(
    request: Request,
    model: type[Model],
    error: type[InvalidRequest] = InvalidRequest,
    context: Context = NO_CONTEXT,
    most: int = strict_json.MAX_ELEMENTS,
) -> Model:
    """Parse the JSON body, of at most ``most`` elements; ``context`` is passed to the model's validators.

    Raises UnsupportedMediaType, InvalidRequest for invalid JSON, and ``error`` for invalid fields.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    data = await request.body()
    try:
        value = await work.loads(data, most)
    except InvalidJSON as wrong:
        raise InvalidRequest(Problem("", "json", {"expected": wrong.message})) from None
    validate = partial(_validated, value, model, error, context)
    return validate() if len(data) < work.LARGE_BYTES else await asyncio.to_thread(validate)


def query(request: Request, model: type[Model]) -> Model:
    """Parse the query parameters. Raises InvalidRequest."""
    given: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        given[key] = (
            value if key not in given else [given[key], value]
        )  # no model accepts a list, so a repeated parameter is a problem
    return _validated(given, model, InvalidRequest)


def model_id_of(request: Request) -> str:
    """The path's model id. As a handler's parameter, FastAPI would document a 422 answer that never occurs."""
    model_id: str = request.path_params["model_id"]
    return model_id


def language(request: Request) -> Language:
    """The language of the answer: the request's, or the application's default."""
    app = request.scope.get("app")
    default = messages.DEFAULT if app is None else getattr(app.state, "language", messages.DEFAULT)
    return language_of(request.headers.get("accept-language"), default)


def _validated(
    value: Any,
    model: type[Model],
    error: type[InvalidRequest],
    context: Context = NO_CONTEXT,
) -> Model:
    try:
        return model.model_validate(value, context=dict(context))
    except ValidationError as wrong:
        details = wrong.errors(include_url=False, include_input=False)
        raise error(*list(_problems(details, model))[:MAX_PROBLEMS]) from None


def _problems(details: list[ErrorDetails], model: type[BaseModel]) -> Iterator[Problem]:
    for detail in details:
        field = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        kind, values = _kind_and_values(detail["type"], detail.get("ctx", {}))
        if kind in ("range", "length"):
            values = {"expected": _bounds(model, detail)}
        yield Problem(_printable(field), kind, values)


def _printable(field: str) -> str:
    """A field's name that is safe to show: callers may send any text as a name."""
    return "".join(letter if letter.isprintable() else "?" for letter in field[:200])


_KINDS: Final = {
    "missing": "missing",
    "extra_forbidden": "unknown",
    "literal_error": "choice",
    "enum": "choice",
    "string_pattern_mismatch": "pattern",
}


def _kind_and_values(kind: str, context: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The API's code for pydantic's kind of problem, and the values of its text."""
    if kind in messages.PROBLEMS:
        return kind, context
    if kind in _KINDS:
        return _KINDS[kind], {"expected": context.get("expected", context.get("pattern", ""))}
    if "than" in kind:
        return "range", context
    if kind.endswith(("too_short", "too_long")):
        return "length", context
    return "type", {"expected": kind.removesuffix("_type").removesuffix("_parsing").replace("_", " ")}


def _bounds(model: type[BaseModel], detail: ErrorDetails) -> str:
    """Both bounds of a field, as ``0..64``; a side without a bound stays empty."""
    least, most = bounds.of_field(model, detail["loc"])
    if least is None and detail["type"].endswith(("too_short", "too_long")):
        least = 0
    return f"{'' if least is None else f'{least:.15g}'}..{'' if most is None else f'{most:.15g}'}"
