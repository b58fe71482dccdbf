"""The bodies that describe a deployment or a secret; a front of another dialect fills them from its own."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from management.domain.records import ModelConfig, Scaling
from management.domain.secrets import colliding_file
from management.errors import InvalidRequest
from management.forms import fields
from web.json import strict_json


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
    target_concurrency: fields.Concurrency | None = Scaling.target_concurrency


class ConfigBody(Body):
    """A model to deploy."""

    model_id: fields.ModelId
    name: fields.Name
    version: fields.Version
    model_type: fields.ModelType
    framework: fields.Framework
    docker_image: fields.Image
    resource_requirements: ResourcesBody = ResourcesBody()
    scaling_config: Annotated[ScalingBody, AfterValidator(_ordered)] = ScalingBody()
    environment_variables: fields.Variables = Field(default_factory=dict)
    default_api: fields.ApiName | None = None
    secrets: fields.SecretNames = Field(default_factory=list)
    access_authorization: fields.AccessAuthorization = ModelConfig.access_authorization
    strategy: fields.UpdateStrategy = ModelConfig.strategy
    labels: fields.Labels = Field(default_factory=dict)


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
    target_concurrency: fields.ChangedConcurrency | None = None


class ChangedConfigBody(Body):
    """A change of a model; omitted fields stay as they are, and a null environment variable is removed."""

    version: fields.Version | None = None
    docker_image: fields.Image | None = None
    resource_requirements: ChangedResourcesBody = ChangedResourcesBody()
    scaling_config: Annotated[ChangedScalingBody, AfterValidator(_ordered)] = ChangedScalingBody()
    environment_variables: fields.ChangedVariables = Field(default_factory=dict)
    default_api: fields.ChangedApiName | None = None
    secrets: fields.SecretNames | None = Field(
        None,
        description="All secrets of the model, in place of the earlier ones. A secret that was changed since it was"
        " named last makes a new revision, whose replicas start with the new values.",
    )
    access_authorization: fields.AccessAuthorization | None = None
    strategy: fields.UpdateStrategy | None = None
    labels: fields.Labels | None = None


def _complete(body: SecretBody) -> SecretBody:
    """Check what no single field shows: the size of all values, and the names that fields have in common."""
    values = [*body.variables.values(), *body.files.values()]
    if not values:
        raise PydanticCustomError("secret_empty", "no value")
    if sum(len(value.get_secret_value().encode()) for value in values) > fields.MAX_SECRET_BYTES * 4 / 3:
        raise PydanticCustomError("secret_size", "too large", {"expected": fields.MAX_SECRET_BYTES})
    if (path := colliding_file(body.files)) is not None:
        raise PydanticCustomError("secret_collision", "a file and a folder", {"found": path})
    if (path := next((path for path in body.paths.values() if path not in body.files), None)) is not None:
        raise PydanticCustomError("secret_path", "no such file", {"found": path})
    if (name := next((name for name in body.paths if name in body.variables), None)) is not None:
        raise PydanticCustomError("secret_twice", "named twice", {"found": name})
    return body


class SecretBody(Body):
    """``PUT /secrets/{name}``; it replaces all values of an earlier secret. No answer has any of them."""

    model_config = example(
        {
            "variables": {"HF_TOKEN": "hf_..."},
            "files": {"key.json": "e30="},
            "paths": {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"},
        }
    )
    variables: fields.SecretVariables = Field(default_factory=dict)
    files: fields.SecretFiles = Field(default_factory=dict)
    paths: fields.SecretPaths = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> SecretBody:
        return _complete(self)
