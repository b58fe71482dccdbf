"""The bodies and query parameters of the API, as pydantic reads them and as OpenAPI shows them."""

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
from management.domain.bento_tag import (
    tag_of,
)
from management.domain.model_types import Framework, ModelType
from management.domain.records import LONGEST_TIMEOUT, Scaling, Status

MODEL_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
MOST_REPLICAS: Final = 64
MOST_VARIABLES: Final = 64
LONGEST_VALUE: Final = 4096  # bytes
MOST_ITEMS: Final = 64
DEFAULT_TIMEOUT: Final = 30  # seconds
ALLOWED: Final = "allowed_environment"
"""Key of the validation context: patterns of environment names that the operator allows."""

_WHOLE: Final = "-?[0-9]{1,18}"
_DECIMAL: Final = r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"


def _quantity(parse: Any, example: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse(text)
        except ValueError:
            raise PydanticCustomError("quantity", "no quantity", {"expected": example}) from None
        return text

    return AfterValidator(check)


def _enough_memory(text: str) -> str:
    meant = quantities.too_little_memory(text)
    if meant is not None:
        raise PydanticCustomError("memory", "too little", {"expected": meant})
    return text


def _image(text: str) -> str:
    """Check an image's name; the backend checks whether the image exists."""
    try:
        tag_of(text)
    except ValueError:
        raise PydanticCustomError("image", "no image", {"expected": "atelier/tcm-diagnosis:2.0.0"}) from None
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("control", "control characters")
    return text


def _variable_name(name: str, info: ValidationInfo) -> str:
    """The context holds the operator's patterns, under ``ALLOWED``."""
    if not environment_names.allowed(name, (info.context or {}).get(ALLOWED, ())):
        raise PydanticCustomError("variable", "not allowed")
    return name


def _changed_variables(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A variable that is null is removed, which any name allows: it may have been set by an earlier version."""
    removed = {name for name, value in given.items() if value is None} if isinstance(given, dict) else set()
    gone = dict.fromkeys(name for name in removed if isinstance(name, str) and environment_names.is_written_well(name))
    if len(gone) > MOST_VARIABLES or not gone:
        return check(given)
    return {**check({name: value for name, value in given.items() if name not in gone}), **gone}


def _variable_value(value: str) -> str:
    if len(value.encode()) > LONGEST_VALUE or any(one in value for one in "\0\n\r"):
        raise PydanticCustomError("control", "bad value")
    return value


def _ordered(scaling: Any) -> Any:
    low, high = scaling.min_replicas, scaling.max_replicas
    if low is not None and high is not None and low > high:
        raise PydanticCustomError("scaling", "min over max")
    return scaling


def _written(form: str, expected: str) -> BeforeValidator:
    """Query parameters are text, and pydantic reads more kinds of text than are meant: ``1_0``, ``yes``, `` 5``."""
    pattern = re.compile(rf"(?:{form})\Z", re.ASCII)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not pattern.match(value):
            raise PydanticCustomError("type", "not written plainly", {"expected": expected})
        return value

    return BeforeValidator(check)


class Body(BaseModel):
    """Base of all bodies: exact types and no unknown fields."""

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
Replicas = Annotated[int, Field(ge=0, le=MOST_REPLICAS)]
Utilization = Annotated[int, Field(ge=1, le=100)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
Variables = Annotated[dict[VariableName, VariableValue], Field(max_length=MOST_VARIABLES)]
ChangedVariables = Annotated[
    dict[VariableName, VariableValue | None],
    WrapValidator(_changed_variables),
    Field(max_length=MOST_VARIABLES),
]
Priority = Literal["low", "normal", "high"]
Timeout = Annotated[int, Field(ge=1, le=LONGEST_TIMEOUT, description="Seconds, waiting included.")]


# The bounds stand before the form, else they are missing in the API's description.
Limit = Annotated[int, Field(ge=1, le=500), _written(_WHOLE, "int")]
Offset = Annotated[int, Field(ge=0, le=1_000_000_000), _written(_WHOLE, "int")]
Lines = Annotated[int, Field(ge=1, le=10_000), _written(_WHOLE, "int")]
Events = Annotated[int, Field(ge=1, le=1000), _written(_WHOLE, "int")]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_TIMEOUT, allow_inf_nan=False), _written(_DECIMAL, "float")]
Truth = Annotated[bool, _written("true|false", "bool")]


class ResourcesBody(Body):
    """Kubernetes quantities, for each replica."""

    cpu: Cpu = "500m"
    memory: Memory = "512Mi"
    gpu: Annotated[Gpus, Field(alias="nvidia.com/gpu")] = "0"


class ScalingBody(Body):
    """Between how many replicas, and at which use of the CPU in percent."""

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
    """Fields that are left out stay."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: Annotated[Gpus | None, Field(alias="nvidia.com/gpu")] = None


class ChangedScalingBody(Body):
    """Fields that are left out stay."""

    min_replicas: Replicas | None = None
    max_replicas: Replicas | None = None
    target_cpu_utilization: Utilization | None = None


class ChangedConfigBody(Body):
    """Fields that are left out stay; an environment variable that is null is removed."""

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
    """One input of a model, and its parameters."""

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferenceBody(ItemBody):
    """``POST /models/{model_id}/inference``."""

    timeout: Timeout = DEFAULT_TIMEOUT
    priority: Priority = "normal"


class BatchBody(Body):
    """``POST /models/{model_id}/batch_inference``."""

    requests: Annotated[list[ItemBody], Field(min_length=1, max_length=MOST_ITEMS)]
    timeout: Timeout = DEFAULT_TIMEOUT
    priority: Priority = "normal"


class Query(BaseModel):
    """Base of all query parameters: they come as text, and unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """Which models are listed."""

    status: Status | None = Field(None, description="Only models of this status.")
    model_type: ModelType | None = Field(None, description="Only models of this type.")
    limit: Limit = Field(50, description="Most models in the answer.")
    offset: Offset = Field(0, description="How many are skipped.")


class WaitQuery(Query):
    """Whether the answer waits for the outcome."""

    wait: Seconds | None = Field(None, description="Seconds to wait for the outcome.")


class DeleteQuery(WaitQuery):
    """How a model is deleted."""

    force: Truth = Field(default=False, description="Without waiting for what is in flight.")


class LogsQuery(Query):
    """How much of a log."""

    tail: Lines = Field(100, description="Last lines of each replica.")


class EventsQuery(Query):
    """How many events."""

    limit: Events = Field(100, description="The newest so many.")
