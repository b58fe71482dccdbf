"""Values into models of pydantic; one error reports all problems, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from management.errors import InvalidRequest, Problem
from management.forms import bounds
from management.wording import messages

MAX_PROBLEMS: Final = 50
"""Problems that one error reports."""

Model = TypeVar("Model", bound=BaseModel)


def validated(value: Any, model: type[Model], error: type[InvalidRequest], context: dict[str, Any]) -> Model:
    """Return the value as an instance of the model. Raises ``error`` with everything that is wrong."""
    try:
        return model.model_validate(value, context=context)
    except ValidationError as wrong:
        details = wrong.errors(include_url=False, include_input=False)
        raise error(*list(_problems(details, model))[:MAX_PROBLEMS]) from None


def _problems(details: list[ErrorDetails], model: type[BaseModel]) -> Iterator[Problem]:
    for detail in details:
        field = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        kind, values = _kind_and_values(detail["type"], detail.get("ctx", {}))
        if kind in ("range", "length"):
            values = {"expected": _bounds(model, detail)}
        yield Problem(printable(field), kind, values)


def printable(field: str) -> str:
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
