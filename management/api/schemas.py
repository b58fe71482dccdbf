"""The bodies and query parameters of the API: pydantic validates by them, and OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from management.api import fields
from management.domain.model_types import Framework, ModelType
from management.domain.records import Scaling, Status
from management.errors import InvalidModelConfig, InvalidRequest
from management.gateway.replica_client import MOST_ELEMENTS
from web.json import strict_json

DEFAULT_TIMEOUT_SECONDS: Final = 30
_ITEM: Final = {"input_data": {"symptoms": ["头痛", "乏力", "食欲不振"]}, "parameters": {"top_k": 3}}


def example(value: dict[str, Any]) -> ConfigDict:
    """A model's configuration with an example of it. FastAPI omits null from the document, so no example has one."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def _ordered(scaling: Any) -> Any:
    low, high = scaling.min_replicas, scaling.max_replicas
    if low is not None and high is not None and low > high:
        raise PydanticCustomError("scaling", "min over max")
    return scaling


class Body(BaseModel):
    """Base of all bodies: strict types, and no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    error: ClassVar[type[InvalidRequest]] = InvalidRequest
    """The error of a body with invalid fields."""
    most: ClassVar[int] = strict_json.MAX_ELEMENTS
    """Elements of the largest body."""


class ResourcesBody(Body):
    """Resources of each replica, as Kubernetes quantities."""

    cpu: fields.Cpu = "500m"
    memory: fields.Memory = "512Mi"
    gpu: Annotated[fields.Gpus, Field(alias="nvidia.com/gpu")] = "0"


class ScalingBody(Body):
    """Bounds for the number of replicas, and the CPU utilization in percent that autoscaling aims at."""

    min_replicas: fields.Replicas = Scaling.min_replicas
    max_replicas: fields.Replicas = Scaling.max_replicas
    target_cpu_utilization: fields.Utilization = Scaling.target_cpu_utilization


class ConfigBody(Body):
    """A model to deploy."""

    model_id: fields.ModelId
    name: fields.Name
    version: fields.Version
    model_type: ModelType
    framework: Framework
    docker_image: fields.Image
    resource_requirements: ResourcesBody = ResourcesBody()
    scaling_config: Annotated[ScalingBody, AfterValidator(_ordered)] = ScalingBody()
    environment_variables: fields.Variables = Field(default_factory=dict)


class DeployBody(Body):
    """``POST /models/deploy``."""

    error = InvalidModelConfig
    model_config = example(
        {
            "config": {
                "model_id": "tcm_diagnosis_v2",
                "name": "中医诊断模型 v2.0",
                "version": "2.0.0",
                "model_type": "tcm_diagnosis",
                "framework": "onnx",
                "docker_image": "atelier/tcm-diagnosis:2.0.0",
                "resource_requirements": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "0"},
                "scaling_config": {"min_replicas": 1, "max_replicas": 5, "target_cpu_utilization": 70},
            }
        }
    )
    config: ConfigBody


class ChangedResourcesBody(Body):
    """A change of a model's resources; omitted fields stay as they are."""

    cpu: fields.Cpu | None = None
    memory: fields.Memory | None = None
    gpu: Annotated[fields.Gpus | None, Field(alias="nvidia.com/gpu")] = None


class ChangedScalingBody(Body):
    """A change of a model's scaling; omitted fields stay as they are."""

    min_replicas: fields.Replicas | None = None
    max_replicas: fields.Replicas | None = None
    target_cpu_utilization: fields.Utilization | None = None


class ChangedConfigBody(Body):
    """A change of a model; omitted fields stay as they are, and a null environment variable is removed."""

    version: fields.Version | None = None
    docker_image: fields.Image | None = None
    resource_requirements: ChangedResourcesBody = ChangedResourcesBody()
    scaling_config: Annotated[ChangedScalingBody, AfterValidator(_ordered)] = ChangedScalingBody()
    environment_variables: fields.ChangedVariables = Field(default_factory=dict)


class UpdateBody(Body):
    """``PUT /models/{model_id}``."""

    error = InvalidModelConfig
    model_config = example(
        {
            "config": {
                "version": "2.1.0",
                "docker_image": "atelier/tcm-diagnosis:2.1.0",
                "resource_requirements": {"cpu": "4", "memory": "16Gi"},
            }
        }
    )
    config: ChangedConfigBody


class ScaleBody(Body):
    """``POST /models/{model_id}/scale``; 0 stops the model."""

    error = InvalidModelConfig
    model_config = example({"replicas": 3})
    replicas: fields.Replicas


class ItemBody(Body):
    """One input of a model with its parameters."""

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferenceBody(ItemBody):
    """``POST /models/{model_id}/inference``."""

    most = MOST_ELEMENTS
    model_config = example({**_ITEM, "timeout": 30, "priority": "normal"})
    timeout: fields.Timeout = DEFAULT_TIMEOUT_SECONDS
    priority: fields.Priority = "normal"


class BatchBody(Body):
    """``POST /models/{model_id}/batch_inference``."""

    most = MOST_ELEMENTS
    model_config = example({"requests": [_ITEM, _ITEM], "timeout": 60, "priority": "normal"})
    requests: Annotated[list[ItemBody], Field(min_length=1, max_length=fields.MAX_ITEMS)]
    timeout: fields.Timeout = DEFAULT_TIMEOUT_SECONDS
    priority: fields.Priority = "normal"


def _omitted(schema: dict[str, Any]) -> None:
    """Describe a query parameter that is None where it is omitted: unlike a body's field, it cannot be null."""
    schema.update(next(choice for choice in schema.pop("anyOf") if choice != {"type": "null"}))


class Query(BaseModel):
    """Base of all query parameters: text is converted, and unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """Filters and page of the list of models."""

    status: Status | None = Field(None, description="Only models of this status.", json_schema_extra=_omitted)
    model_type: ModelType | None = Field(None, description="Only models of this type.", json_schema_extra=_omitted)
    limit: fields.Limit = Field(50, description="Maximum number of models in the answer.")
    offset: fields.Offset = Field(0, description="Number of models to skip.")


class WaitQuery(Query):
    """Whether the answer waits for the outcome."""

    wait: fields.Seconds = Field(0.0, description="Seconds to wait for the outcome.")


class DeleteQuery(WaitQuery):
    """How to delete a model, and whether the answer waits for the outcome."""

    force: fields.Flag = Field(default=False, description="Do not wait for requests in flight.")


class LogsQuery(Query):
    """How many lines of each log to return."""

    tail: fields.Lines = Field(100, description="Last lines of each replica.")


class EventsQuery(Query):
    """How many events to return."""

    limit: fields.Events = Field(100, description="Number of newest events.")
