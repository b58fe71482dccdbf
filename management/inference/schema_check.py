"""Checks arguments against a Bento's JSON schema, before anything is queued.

The schema is its author's, who may run code in a replica, but not here: regular expressions, references to other
documents and everything that costs more than ``MAX_STEPS`` are left to the Bento, which checks its input again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import date, datetime, time
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import UndefinedTypeCheck, UnknownType, ValidationError
from jsonschema.validators import create
from referencing import Registry
from referencing.exceptions import Unresolvable

from management.domain.bento import BentoApi
from management.errors import Problem
from management.inference import extra_types
from management.inference.arguments import Arguments
from management.inference.schema_problems import problem_of

MAX_STEPS: Final = 50_000
"""Keywords that are evaluated for one call: about half a second."""
MAX_PROBLEMS: Final = 50
"""Problems that one error reports."""
_KEYWORDS: Final = (
    *("$ref", "allOf", "anyOf", "not", "oneOf"),
    *("const", "enum", "format", "multipleOf"),
    *("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"),
    *("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"),
    *("prefixItems", "properties", "propertyNames"),
)
"""Keywords that are evaluated as the standard says. ``pattern`` and its like would run a foreign regular expression."""
_UNCHECKABLE: Final = (
    UnknownType,
    UndefinedTypeCheck,
    Unresolvable,
    RecursionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a schema that is none makes of its evaluation."""

Evaluate = Callable[[Any, Any, Any, Any], Iterator[ValidationError]]
"""Evaluates a keyword: validator, the keyword's value, the instance and the schema."""


class TooManySteps(Exception):
    """The schema costs too much on this input."""


_steps_left: ContextVar[list[int]] = ContextVar("steps_left")


def problems(api: BentoApi, arguments: Arguments) -> list[Problem]:
    """Return everything that is wrong with the arguments. Costs up to half a second, so that a thread calls it."""
    validator = _Validator(_schema(api), registry=Registry(), format_checker=_FORMATS)
    _steps_left.set([MAX_STEPS])
    found: list[Problem] = []
    try:
        for error in islice(validator.iter_errors(dict(arguments.values)), MAX_PROBLEMS):
            found.append(problem_of(error, arguments))
    except (*_UNCHECKABLE, TooManySteps):
        pass
    return found


def _schema(api: BentoApi) -> dict[str, Any]:
    whole = {} if api.root is None or api.takes_one_value else dict(api.body_schema)
    return {
        "additionalProperties": False,
        **whole,
        "type": "object",
        "properties": dict(api.inputs),
        "required": sorted(api.required_inputs),
        "$defs": dict(api.definitions),
    }


def _counted(evaluate: Evaluate) -> Evaluate:
    """Return the evaluation of a keyword that counts as a step. Raises TooManySteps."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left = _steps_left.get()
        left[0] -= 1
        if left[0] < 0:
            raise TooManySteps
        yield from evaluate(validator, value, instance, schema) or ()

    return counted


def _required(validator: Any, names: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        yield from (ValidationError(name) for name in names if name not in instance)


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object") or "patternProperties" in schema:
        return
    for name in [name for name in instance if name not in schema.get("properties", {})]:
        if allowed is False:
            yield ValidationError(name)
        elif isinstance(allowed, Mapping):
            yield from validator.descend(instance[name], allowed, path=name)


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "array"):
        return
    first = len(schema.get("prefixItems", ()))
    plain = isinstance(items, Mapping) and items.keys() <= {"type", "title"} and isinstance(items.get("type"), str)
    if plain and all(validator.is_type(item, items["type"]) for item in instance[first:]):
        return  # a list of many numbers costs one step
    for number, item in enumerate(instance[first:], start=first):
        yield from validator.descend(item, items, path=number)


def _shape(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    shape = extra_types.shape_of(instance) if schema.get("type") == extra_types.TENSOR else None
    if shape is not None and not extra_types.fits(shape, wanted):
        yield ValidationError(json.dumps(list(wanted)))


def _type(validator: Any, types: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    names = [types] if isinstance(types, str) else types
    for name in names:
        if validator.is_type(instance, name) and (
            name != extra_types.TENSOR or extra_types.has_numbers(instance, schema.get("dtype"))
        ):
            return
    yield ValidationError("type")


_Validator: Final[Any] = create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={name: _counted(Draft202012Validator.VALIDATORS[name]) for name in _KEYWORDS}
    | {
        "additionalProperties": _counted(_additional),
        "items": _counted(_items),
        "required": _counted(_required),
        "shape": _counted(_shape),
        "type": _counted(_type),
    },
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            extra_types.FILE: extra_types.is_file,
            extra_types.TENSOR: extra_types.is_tensor,
            extra_types.DATAFRAME: extra_types.is_dataframe,
        }
    ),
)

_FORMATS: Final = FormatChecker(formats=("email", "ipv4", "ipv6", "uuid"))
"""Formats that are checked; JSON schema has more, which pydantic reads in ways of its own."""


def _check_format(name: str, parse: Callable[[str], object]) -> None:
    def check(value: object) -> bool:
        if isinstance(value, str):
            parse(value)
        return True

    _FORMATS.checks(name, raises=ValueError)(check)


_check_format("date", date.fromisoformat)
_check_format("date-time", datetime.fromisoformat)
_check_format("time", time.fromisoformat)
