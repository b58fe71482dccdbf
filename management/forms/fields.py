"""The forms that values of requests have: each checks a value, and describes it for OpenAPI."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from management.domain import environment_names, quantities, secrets
from management.domain.bento_tag import EXAMPLE, tag_of
from management.domain.model_types import FRAMEWORKS, LABEL, MODEL_TYPES
from management.domain.records import LONGEST_TIMEOUT, MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS, MOST_CONCURRENCY
from management.domain.strategy import Strategy

MODEL_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
MAX_REPLICAS: Final = 64
MAX_VARIABLES: Final = 64
"""Environment variables of one model."""
MAX_VALUE_BYTES: Final = 4096
"""Bytes of an environment variable's value in UTF-8."""
MAX_ITEMS: Final = 64
"""Items of one batch."""
MAX_SECRETS: Final = 16
"""Secrets of one model."""
MAX_SECRET_VALUE_BYTES: Final = 32 * 1024
"""Bytes of a secret's variable in UTF-8: a quarter of what Linux passes on to a child process."""
MAX_SECRET_FILES: Final = 16
"""Files of one secret."""
MAX_SECRET_BYTES: Final = 512 * 1024
"""Bytes of all values of one secret."""
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
        raise PydanticCustomError("image", "not an image with its version", {"expected": EXAMPLE}) from None
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


def _secret_variable(name: str, info: ValidationInfo) -> str:
    if not environment_names.allowed_in_secrets(name, (info.context or {}).get(ALLOWED, ())):
        raise PydanticCustomError("secret_variable", "not allowed")
    return name


def _secret_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if "\0" in text or len(text.encode()) > MAX_SECRET_VALUE_BYTES:
        raise PydanticCustomError("secret_value", "bad value", {"expected": MAX_SECRET_VALUE_BYTES})
    return value


def _secret_file(path: str) -> str:
    if not secrets.is_file(path):
        raise PydanticCustomError("secret_file", "not a path", {"expected": "certificates/client.pem"})
    return path


def _base64(value: SecretStr) -> SecretStr:
    try:
        b64decode(value.get_secret_value(), validate=True)
    except ValueError:
        raise PydanticCustomError("base64", "not base64") from None
    return value


def _label(most: int, *, least: int = 0) -> AfterValidator:
    def check(text: str) -> str:
        if not (least <= len(text) <= most and text.isprintable()):
            raise PydanticCustomError("label", "not a label", {"expected": f"{least}..{most}"})
        return text

    return AfterValidator(check)


def _different(names: list[str]) -> list[str]:
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise PydanticCustomError("secret_twice", "named twice", {"found": repeated})
    return names


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
ModelType = Annotated[str, StringConstraints(pattern=LABEL), Field(examples=list(MODEL_TYPES))]
Framework = Annotated[str, StringConstraints(pattern=LABEL), Field(examples=list(FRAMEWORKS))]
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
Description = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
"""What a secret or a key is for, on one line."""
ApiName = Annotated[
    str,
    Field(min_length=1, max_length=128, description="Name or route of one of the Bento's APIs.", examples=["greet"]),
    AfterValidator(_printable),
]
ChangedApiName = Annotated[
    str,
    Field(max_length=128, description="Name or route of one of the Bento's APIs; an empty text removes the choice."),
    AfterValidator(_printable),
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
_CONCURRENCY: Final = "Requests, in flight or waiting, for each replica that autoscaling aims at beside the CPU"
Concurrency = Annotated[int, Field(ge=1, le=MOST_CONCURRENCY, description=f"{_CONCURRENCY}; by default none.")]
ChangedConcurrency = Annotated[int, Field(ge=0, le=MOST_CONCURRENCY, description=f"{_CONCURRENCY}; 0 removes it.")]
AccessAuthorization = Annotated[
    bool, Field(description="Whether the model's own address requires a key; calls of the API always do.")
]
UpdateStrategy = Annotated[
    Strategy, Field(strict=False, description="How an update replaces replicas; choosing it alone replaces none.")
]
Labels = Annotated[
    dict[
        Annotated[str, _label(MAX_LABEL_KEY, least=1)],
        Annotated[str, Field(json_schema_extra={"maxLength": MAX_LABEL_VALUE}), _label(MAX_LABEL_VALUE)],
    ],
    Field(
        max_length=MAX_LABELS,
        description="Your own notes about the model, printable. In an update they are all of them.",
        json_schema_extra={"propertyNames": {"minLength": 1, "maxLength": MAX_LABEL_KEY}},
    ),
]
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
SecretName = Annotated[str, StringConstraints(pattern=secrets.NAME)]
SecretNames = Annotated[
    list[SecretName],
    Field(
        max_length=MAX_SECRETS,
        description="Names of secrets that each replica receives; of two with the same variable, the later one counts.",
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(_different),
]
SecretVariable = Annotated[str, AfterValidator(_secret_variable)]
SecretFile = Annotated[str, AfterValidator(_secret_file)]
SecretValue = Annotated[SecretStr, AfterValidator(_secret_value)]
SecretFileContent = Annotated[SecretStr, AfterValidator(_base64)]
_SECRET_NAMES: Final[dict[str, Any]] = {"propertyNames": {"pattern": "^[A-Z][A-Z0-9_]{0,63}$"}}
_SECRET_FILES: Final[dict[str, Any]] = {"propertyNames": {"pattern": "^[A-Za-z0-9._/-]{1,259}$"}}
SecretVariables = Annotated[
    dict[SecretVariable, SecretValue],
    Field(
        max_length=MAX_VARIABLES,
        description=f"Environment variables with values of at most {MAX_SECRET_VALUE_BYTES} bytes.",
        json_schema_extra=_SECRET_NAMES,
    ),
]
SecretFiles = Annotated[
    dict[SecretFile, SecretFileContent],
    Field(
        max_length=MAX_SECRET_FILES,
        description=f"Files as base64, by their path in the folder `NAME` below `${secrets.FOLDER_VARIABLE}`.",
        json_schema_extra=_SECRET_FILES,
    ),
]
SecretPaths = Annotated[
    dict[SecretVariable, SecretFile],
    Field(
        max_length=MAX_SECRET_FILES,
        description="Environment variables that get the path of one of the files.",
        json_schema_extra=_SECRET_NAMES,
    ),
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
