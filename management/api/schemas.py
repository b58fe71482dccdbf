"""The bodies and query parameters of the API, for pydantic to validate and for OpenAPI to describe."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from management.domain import environment_names, quantities
from management.domain.bento_tag import tag_of
from management.domain.model_types import Framework, ModelType
from management.domain.records import LONGEST_TIMEOUT, Scaling, Status

MODEL_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
MAX_REPLICAS: Final = 64
MAX_VARIABLES: Final = 64
"""Environment variables of one model."""
MAX_VALUE_BYTES: Final = 4096
"""Bytes of an environment variable's value in UTF-8."""
MAX_ITEMS: Final = 64
"""Items of one batch."""
DEFAULT_TIMEOUT_SECONDS: Final = 30
ALLOWED: Final = "allowed_environment"
"""Key of the validation context for the patterns of environment names that the operator allows."""

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


def _ordered(scaling: Any) -> Any:
    low, high = scaling.min_replicas, scaling.max_replicas
    if low is not None and high is not None and low > high:
        raise PydanticCustomError("scaling", "min over max")
    return scaling


def _written(form: str, expected: str) -> BeforeValidator:
    """Accept only text of this form as a query parameter. pydantic alone also accepts ``1_0``, ``yes`` and `` 5``."""
    pattern = re.compile(rf"(?:{form})\Z", re.ASCII)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not pattern.match(value):
            raise PydanticCustomError("type", "not in the expected form", {"expected": expected})
        return value

    return BeforeValidator(check)


class Body(BaseModel):
    """Base of all bodies: strict types, and no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


ModelId = Annotated[str, StringConstraints(pattern=MODEL_ID)]
Version = Annotated[str, StringConstraints(pattern=VERSION)]
Image = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_image)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
Cpu = Annotated[str, StringConstraints(max_length=32), _quantity(quantities.cpu_millicores, "500m")]
Memory = Annotated[
    str,
    StringConstraints(max_length=32),
    _quantity(quantities.memory_bytes, "8Gi"),
    AfterValidator(_enough_memory),
]
Gpus = Annotated[str, StringConstraints(max_length=32), _quantity(quantities.gpus, "1")]
Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
Utilization = Annotated[int, Field(ge=1, le=100)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
Variables = Annotated[dict[VariableName, VariableValue], Field(max_length=MAX_VARIABLES)]
ChangedVariables = Annotated[
    dict[VariableName, VariableValue | None],
    WrapValidator(_changed_variables),
    Field(max_length=MAX_VARIABLES),
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


class ResourcesBody(Body):
    """Resources of each replica, as Kubernetes quantities."""

    cpu: Cpu = "500m"
    memory: Memory = "512Mi"
    gpu: Annotated[Gpus, Field(alias="nvidia.com/gpu")] = "0"


class ScalingBody(Body):
    """Bounds for the number of replicas, and the CPU utilization in percent that autoscaling aims at."""

    min_replicas: Replicas = Scaling.min_replicas
    max_replicas: Replicas = Scaling.max_replicas
    target_cpu_utilization: Utilization = Scaling.target_cpu_utilization


class ConfigBody(Body):
    """A model to deploy."""

    model_id: ModelId
    name: Name
    version: Version
    model_type: ModelType
    framework: Framework
    docker_image: Image
    resource_requirements: ResourcesBody = ResourcesBody()
    scaling_config: Annotated[ScalingBody, AfterValidator(_ordered)] = ScalingBody()
    environment_variables: Variables = Field(default_factory=dict)


class DeployBody(Body):
    """``POST /models/deploy``."""

    config: ConfigBody


class ChangedResourcesBody(Body):
    """A change of a model's resources; omitted fields stay as they are."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: Annotated[Gpus | None, Field(alias="nvidia.com/gpu")] = None


class ChangedScalingBody(Body):
    """A change of a model's scaling; omitted fields stay as they are."""

    min_replicas: Replicas | None = None
    max_replicas: Replicas | None = None
    target_cpu_utilization: Utilization | None = None


class ChangedConfigBody(Body):
    """A change of a model; omitted fields stay as they are, and a null environment variable is removed."""

    version: Version | None = None
    docker_image: Image | None = None
    resource_requirements: ChangedResourcesBody = ChangedResourcesBody()
    scaling_config: Annotated[ChangedScalingBody, AfterValidator(_ordered)] = ChangedScalingBody()
    environment_variables: ChangedVariables = Field(default_factory=dict)


class UpdateBody(Body):
    """``PUT /models/{model_id}``."""

    config: ChangedConfigBody


class ScaleBody(Body):
    """``POST /models/{model_id}/scale``; 0 stops the model."""

    replicas: Replicas


class ItemBody(Body):
    """One input of a model with its parameters."""

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferenceBody(ItemBody):
    """``POST /models/{model_id}/inference``."""

    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS
    priority: Priority = "normal"


class BatchBody(Body):
    """``POST /models/{model_id}/batch_inference``."""

    requests: Annotated[list[ItemBody], Field(min_length=1, max_length=MAX_ITEMS)]
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS
    priority: Priority = "normal"


class Query(BaseModel):
    """Base of all query parameters: text is converted, and unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """Filters and page of the list of models."""

    status: Status | None = Field(None, description="Only models of this status.")
    model_type: ModelType | None = Field(None, description="Only models of this type.")
    limit: Limit = Field(50, description="Maximum number of models in the answer.")
    offset: Offset = Field(0, description="Number of models to skip.")


class WaitQuery(Query):
    """Whether the answer waits for the outcome."""

    wait: Seconds | None = Field(None, description="Seconds to wait for the outcome.")


class DeleteQuery(WaitQuery):
    """How to delete a model, and whether the answer waits for the outcome."""

    force: Flag = Field(default=False, description="Do not wait for requests in flight.")


class LogsQuery(Query):
    """How many lines of each log to return."""

    tail: Lines = Field(100, description="Last lines of each replica.")


class EventsQuery(Query):
    """How many events to return."""

    limit: Events = Field(100, description="Number of newest events.")
