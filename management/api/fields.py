"""The forms that values of requests have: each checks a value, and describes it for OpenAPI."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from management.domain import environment_names, quantities
from management.domain.bento_tag import tag_of
from management.domain.records import LONGEST_TIMEOUT

MODEL_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
MAX_REPLICAS: Final = 64
MAX_VARIABLES: Final = 64
"""Environment variables of one model."""
MAX_VALUE_BYTES: Final = 4096
"""Bytes of an environment variable's value in UTF-8."""
MAX_ITEMS: Final = 64
"""Items of one batch."""
ALLOWED: Final = "allowed_environment"
"""Key of the validation context for the patterns of environment names that the operator allows."""

_QUANTITY: Final = r"[0-9]{1,12}(\.[0-9]{1,6})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_ABOVE_ZERO: Final[dict[str, Any]] = {"pattern": f"^(?=[0-9.]*[1-9]){_QUANTITY}"}
_FROM_ZERO: Final[dict[str, Any]] = {"pattern": f"^{_QUANTITY}"}
_WHOLE: Final = "-?[0-9]{1,18}"
_DECIMAL: Final = r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"


def _quantity(parse: Any, example: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse(text)
        except ValueError:
            raise PydanticCustomError("quantity", "not a quantity", {"expected": example}) from None
        return text

    return AfterValidator(check)


def _enough_memory(text: str) -> str:
    suggestion = quantities.too_little_memory(text)
    if suggestion is not None:
        raise PydanticCustomError("memory", "too little", {"expected": suggestion})
    return text


def _image(text: str) -> str:
    """Check the form of an image's name; the backend checks whether the image exists."""
    try:
        tag_of(text)
    except ValueError:
        raise PydanticCustomError(
            "image", "not an image with its version", {"expected": "atelier/tcm-diagnosis:2.0.0"}
        ) from None
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("control", "control characters")
    return text


def _variable_name(name: str, info: ValidationInfo) -> str:
    """Check that a model may set the variable; the validation context has the operator's patterns under ``ALLOWED``."""
    if not environment_names.allowed(name, (info.context or {}).get(ALLOWED, ())):
        raise PydanticCustomError("variable", "not allowed")
    return name


def _changed_variables(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Check the variables that are set. Null removes any variable, because an earlier version may have allowed it."""
    removed = {name for name, value in given.items() if value is None} if isinstance(given, dict) else set()
    nulls = dict.fromkeys(name for name in removed if isinstance(name, str) and environment_names.is_written_well(name))
    if len(nulls) > MAX_VARIABLES or not nulls:
        return check(given)
    return {**check({name: value for name, value in given.items() if name not in nulls}), **nulls}


def _variable_value(value: str) -> str:
    if len(value.encode()) > MAX_VALUE_BYTES or any(letter in value for letter in "\0\n\r"):
        raise PydanticCustomError("control", "bad value")
    return value


def _written(form: str, expected: str) -> BeforeValidator:
    """Accept only text of this form as a query parameter. pydantic alone also accepts ``1_0``, ``yes`` and `` 5``."""
    pattern = re.compile(rf"(?:{form})\Z", re.ASCII)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not pattern.match(value):
            raise PydanticCustomError("type", "not in the expected form", {"expected": expected})
        return value

    return BeforeValidator(check)


# ``json_schema_extra`` documents what a validator checks: pydantic's own pattern would give a less exact error.
ModelId = Annotated[str, StringConstraints(pattern=MODEL_ID)]
Version = Annotated[str, StringConstraints(pattern=VERSION)]
Image = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="Its last part names a Bento with its exact version; `latest` is not a version.",
        json_schema_extra={"pattern": r"^[A-Za-z0-9][A-Za-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"},
    ),
    AfterValidator(_image),
]
Name = Annotated[
    str, Field(min_length=1, max_length=200, description="Without control characters."), AfterValidator(_printable)
]
Cpu = Annotated[
    str,
    Field(max_length=32, examples=["500m"], json_schema_extra=_ABOVE_ZERO),
    _quantity(quantities.cpu_millicores, "500m"),
]
Memory = Annotated[
    str,
    Field(max_length=32, examples=["8Gi"], json_schema_extra=_ABOVE_ZERO),
    _quantity(quantities.memory_bytes, "8Gi"),
    AfterValidator(_enough_memory),
]
Gpus = Annotated[
    str,
    Field(max_length=32, examples=["1"], json_schema_extra=_FROM_ZERO, description="A whole number."),
    _quantity(quantities.gpus, "1"),
]
Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
Utilization = Annotated[int, Field(ge=1, le=100)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
_VARIABLES: Final = Field(
    max_length=MAX_VARIABLES,
    description=f"Values of at most {MAX_VALUE_BYTES} bytes, on one line. Names that a library reads are refused.",
    json_schema_extra={"propertyNames": {"pattern": "^[A-Z][A-Z0-9_]{0,63}$"}},
)
Variables = Annotated[dict[VariableName, VariableValue], _VARIABLES]
ChangedVariables = Annotated[
    dict[VariableName, VariableValue | None],
    WrapValidator(_changed_variables),
    _VARIABLES,
]
Priority = Literal["low", "normal", "high"]
Timeout = Annotated[int, Field(ge=1, le=LONGEST_TIMEOUT, description="Seconds, including the time in the queue.")]


# The bounds come before the form: after it they would be missing in the OpenAPI document.
Limit = Annotated[int, Field(ge=1, le=500), _written(_WHOLE, "int")]
Offset = Annotated[int, Field(ge=0, le=1_000_000_000), _written(_WHOLE, "int")]
Lines = Annotated[int, Field(ge=1, le=10_000), _written(_WHOLE, "int")]
Events = Annotated[int, Field(ge=1, le=1000), _written(_WHOLE, "int")]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_TIMEOUT, allow_inf_nan=False), _written(_DECIMAL, "float")]
Flag = Annotated[bool, _written("true|false", "bool")]
