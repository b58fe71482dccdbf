"""A violated keyword of a JSON schema as a problem of a field, in the API's own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from jsonschema.exceptions import ValidationError

from management.errors import Problem
from management.inference import extra_types
from management.inference.arguments import Arguments

MAX_EXPECTED_CHARACTERS: Final = 200
"""Characters of what a problem says was expected."""
_WORDS: Final[Mapping[str, str]] = {"null": "null", **extra_types.DESCRIPTIONS}
_LEAST: Final = ("minimum", "exclusiveMinimum")
_MOST: Final = ("maximum", "exclusiveMaximum")


def problem_of(error: ValidationError, arguments: Arguments) -> Problem:
    """Return the problem that the error stands for; of several alternatives, the one that came furthest."""
    leaf = _leaf(error)
    kind, expected = _kind_and_expected(leaf)
    path = list(leaf.absolute_path)
    if kind in ("missing", "unknown"):
        path.append(leaf.message)
    return Problem(_field(path, arguments), kind, {"expected": expected[:MAX_EXPECTED_CHARACTERS]} if expected else {})


def _leaf(error: ValidationError) -> ValidationError:
    """Return why the nearest alternative does not fit; the error itself where none is of the value's type."""
    while error.context and error.validator in ("anyOf", "oneOf"):
        alternatives: dict[object, list[ValidationError]] = {}
        for inner in error.context:
            alternatives.setdefault(inner.schema_path[0], []).append(inner)
        nearest = min(alternatives.values(), key=_distance)
        if _distance(nearest)[0]:
            return error
        error = nearest[0]
    return error


def _distance(errors: Sequence[ValidationError]) -> tuple[bool, bool, int]:
    """Return how far a value is from an alternative: another type, another constant, or so many problems."""
    other_type = any(error.validator == "type" and not error.path for error in errors)
    return other_type, any(error.validator in ("const", "enum") for error in errors), len(errors)


def _kind_and_expected(error: ValidationError) -> tuple[str, str]:
    """Return the kind of the problem, and what was expected instead."""
    validator = str(error.validator)
    reword = _REWORDED.get(validator)
    return (_other(validator, error.validator_value)) if reword is None else reword(error)


def _other(validator: str, value: Any) -> tuple[str, str]:
    return "schema", f"{validator} {value:g}" if isinstance(value, int | float) else validator


def _type(error: ValidationError) -> tuple[str, str]:
    types = _types([error, *(error.context or ())])
    return ("type", " or ".join(types)) if types else _other(str(error.validator), None)


def _choice(error: ValidationError) -> tuple[str, str]:
    value: Any = error.validator_value
    values = value if error.validator == "enum" else [value]
    return "choice", ", ".join(value if isinstance(value, str) else json.dumps(value) for value in values)


def _range(error: ValidationError) -> tuple[str, str]:
    return "range", _bounds(error, _LEAST, _MOST)


def _length(error: ValidationError) -> tuple[str, str]:
    suffix = str(error.validator)[len("min") :]
    return "length", _bounds(error, (f"min{suffix}",), (f"max{suffix}",), default=0)


_REWORDED: Final[Mapping[str, Callable[[ValidationError], tuple[str, str]]]] = {
    "required": lambda _: ("missing", ""),
    "additionalProperties": lambda _: ("unknown", ""),
    "format": lambda error: ("format", str(error.validator_value)),
    "shape": lambda error: ("type", f"a tensor of shape {error.message}"),
    **dict.fromkeys(("type", "anyOf", "oneOf"), _type),
    **dict.fromkeys(("enum", "const"), _choice),
    **dict.fromkeys((*_LEAST, *_MOST), _range),
    **{f"{side}{what}": _length for side in ("min", "max") for what in ("Length", "Items", "Properties")},
}
"""How a violated keyword is worded, where the API has words for it."""


def _types(errors: Iterable[ValidationError]) -> list[str]:
    """Return the types that would have been right, in words."""
    types: dict[str, None] = {}
    for error in errors:
        if error.validator == "type":
            names: Any = error.validator_value
            for name in [names] if isinstance(names, str) else names:
                types[_WORDS.get(str(name), str(name))] = None
    return list(types)


def _bounds(error: ValidationError, least: Iterable[str], most: Iterable[str], default: float | None = None) -> str:
    """Return both bounds, as ``0..64``; a side without a bound stays empty."""
    schema: Any = error.schema
    low, high = (next((schema[name] for name in names if name in schema), None) for names in (least, most))
    low = default if low is None else low
    return f"{'' if low is None else f'{low:.15g}'}..{'' if high is None else f'{high:.15g}'}"


def _field(path: Sequence[int | str], arguments: Arguments) -> str:
    first, *rest = path or [""]
    parts = [arguments.field(str(first)) if path else "input_data", *map(str, rest)]
    return "".join(letter if letter.isprintable() else "?" for letter in ".".join(parts)[:200])
