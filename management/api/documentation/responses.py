"""The API's answers as models. Only the OpenAPI document uses them, as named schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from management.api.schemas import MODEL_ID
from management.domain.model_types import Framework, ModelType
from management.domain.records import ReplicaState, Status

Instant = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        json_schema_extra={"format": "date-time"},
        description="UTC.",
    ),
]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")]
ModelId = Annotated[str, Field(pattern=MODEL_ID)]
Code = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$", description="For programs; never translated.")]
Count = Annotated[int, Field(ge=0)]


class Answer(BaseModel):
    """Base of all answers: no fields except the declared ones."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(Answer):
    """An error: a code and details for programs, and a message in the caller's language."""

    code: Code
    message: Annotated[str, Field(description="In Chinese, French or English by Accept-Language.")]
    details: dict[str, Any]


class ErrorAnswer(Answer):
    """The shape of every error."""

    status: Literal["error"]
    error: ErrorBody
    timestamp: Instant


class DeploymentAnswer(Answer):
    """The outcome of a deployment or an update, or a notice that it is under way."""

    deployment_id: Id
    message: str


class ScaleAnswer(Answer):
    """The current and the target number of replicas."""

    message: str
    current_replicas: Count
    target_replicas: Count


class DeleteAnswer(Answer):
    """The outcome of a deletion, or a notice that it is under way."""

    message: str


class ListedModel(Answer):
    """A model in the list."""

    model_id: ModelId
    name: str
    version: str
    status: Status
    model_type: ModelType
    created_at: Instant
    updated_at: Instant


class Replicas(Answer):
    """The desired number of replicas, how many run, and how many of those are ready."""

    desired: Count
    current: Count
    ready: Count


class Endpoint(Answer):
    """A URL that calls the model."""

    type: Literal["inference", "batch_inference"]
    url: str


class Usage(Answer):
    """Measured usage, as Kubernetes quantities."""

    cpu: Annotated[str, Field(pattern=r"^[0-9]+m$")]
    memory: Annotated[str, Field(pattern=r"^[0-9]+Mi$")]
    gpu: Annotated[str, Field(pattern=r"^[0-9]+$")]


class ShownConfig(Answer):
    """The configuration of the target revision, with masked values of environment variables."""

    framework: Framework
    docker_image: str
    resource_requirements: dict[str, str]
    scaling_config: dict[str, int]
    environment_variables: dict[str, Literal["******"]]


class ShownReplica(Answer):
    """A replica in the status of its model."""

    replica_id: Id
    state: ReplicaState
    revision: Annotated[int, Field(ge=1)]
    version: str
    created_at: Instant
    ready_at: Instant | None
    gpus: list[Count]
    resource_usage: Usage | None
    reason: str | None


class StatusAnswer(ListedModel):
    """Everything known about a model."""

    replicas: Replicas
    endpoints: list[Endpoint]
    resource_usage: Usage
    deployment_id: Id
    revision: Annotated[int, Field(ge=1)]
    message: str
    config: ShownConfig
    replica_details: list[ShownReplica]


class ReplicaLog(Answer):
    """The last lines of one replica's log."""

    replica_id: Id
    state: ReplicaState
    lines: list[str]


class LogsAnswer(Answer):
    """The last lines of every replica's log."""

    model_id: ModelId
    replicas: list[ReplicaLog]


class ShownEvent(Answer):
    """A change of a model: who made it, and when."""

    timestamp: Instant
    actor: Annotated[str, Field(description="A key's name, or `supervisor`.")]
    action: str
    deployment_id: Id
    details: dict[str, Any]


class InferenceAnswer(Answer):
    """The model's output for one input."""

    request_id: RequestId
    model_id: ModelId
    output_data: dict[str, Any]
    confidence: float | None
    processing_time: Annotated[float, Field(ge=0, description="Seconds.")]
    timestamp: Instant


class ItemError(Answer):
    """The reason why an item has no output."""

    code: Code
    message: str


class BatchItem(Answer):
    """The model's output for one item of a batch; without an output, `error` gives the reason."""

    request_id: RequestId
    model_id: ModelId
    output_data: dict[str, Any] | None
    confidence: float | None
    processing_time: Annotated[float, Field(ge=0, description="Seconds.")]
    timestamp: Instant
    error: Annotated[ItemError, Field(default=None, description="Only if the item failed.")]


class Models(Answer):
    """The number of models that should run, and how many of them are ready."""

    wanted: Count
    ready: Count


class HealthAnswer(Answer):
    """The health of the management."""

    status: Literal["healthy", "degraded"]
    database: Literal["ok"]
    lease: Literal["held", "free"]
    backend: str
    backend_state: Literal["ok", "unavailable"]
    models: Models
    timestamp: Instant


class UnhealthyAnswer(Answer):
    """The health of the management while its database is unavailable."""

    status: Literal["unhealthy"]
    database: Literal["unavailable"]
    backend: str
    timestamp: Instant
