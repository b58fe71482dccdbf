"""Requests into bodies and parameters; whatever is wrong with them is said at once, field by field."""

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

MOST_PROBLEMS: Final = 50

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
    """Parse the JSON body, of at most ``most`` elements; ``context`` is what the model's validators see.

    Raises UnsupportedMediaType, InvalidRequest for what is no JSON, ``error`` for wrong fields.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    data = await request.body()
    try:
        value = await work.loads(data, most)
    except InvalidJSON as wrong:
        raise InvalidRequest(Problem("", "json", {"expected": wrong.message})) from None
    checked = partial(_validated, value, model, error, context)
    return checked() if len(data) < work.LARGE_BYTES else await asyncio.to_thread(checked)


def query(request: Request, model: type[Model]) -> Model:
    """The query parameters. Raises InvalidRequest."""
    given: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        given[key] = value if key not in given else [given[key], value]  # twice is never right, and is said so
    return _validated(given, model, InvalidRequest)


def model_id_of(request: Request) -> str:
    """The path's model id. A parameter of the handler would make FastAPI describe a 422 that never occurs."""
    model_id: str = request.path_params["model_id"]
    return model_id


def language(request: Request) -> Language:
    """The language of the answer; the application's own where the request names none."""
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
        found = wrong.errors(include_url=False, include_input=False)
        raise error(*list(_problems(found, model))[:MOST_PROBLEMS]) from None


def _problems(found: list[ErrorDetails], model: type[BaseModel]) -> Iterator[Problem]:
    for one in found:
        field = ".".join(str(part) for part in one["loc"] if part != "[key]")
        kind, values = _said(one["type"], one.get("ctx", {}))
        if kind in ("range", "length"):
            values = {"expected": _within(model, one)}
        yield Problem(_cleaned(field), kind, values)


def _cleaned(field: str) -> str:
    """A field's name as it may be shown: it can be anything that a caller wrote."""
    return "".join(letter if letter.isprintable() else "?" for letter in field[:200])


_KINDS: Final = {
    "missing": "missing",
    "extra_forbidden": "unknown",
    "literal_error": "choice",
    "enum": "choice",
    "string_pattern_mismatch": "pattern",
}


def _said(kind: str, context: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """pydantic's kind of problem as one of ours, and the values of its text."""
    if kind in messages.PROBLEMS:
        return kind, context
    if kind in _KINDS:
        return _KINDS[kind], {"expected": context.get("expected", context.get("pattern", ""))}
    if "than" in kind:
        return "range", context
    if kind.endswith(("too_short", "too_long")):
        return "length", context
    return "type", {"expected": kind.removesuffix("_type").removesuffix("_parsing").replace("_", " ")}


def _within(model: type[BaseModel], wrong: ErrorDetails) -> str:
    """Both bounds of a field, as ``0..64``; a side without a bound stays empty."""
    least, most = bounds.of_field(model, wrong["loc"])
    if least is None and wrong["type"].endswith(("too_short", "too_long")):
        least = 0
    return f"{'' if least is None else f'{least:.15g}'}..{'' if most is None else f'{most:.15g}'}"
