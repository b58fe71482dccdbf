"""What the API answers, as models: for its OpenAPI document alone, which carries them as named schemas."""

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
    """What all answers have in common: no field but those that stand here."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(Answer):
    """What went wrong: a code and details for programs, a message in the caller's language for people."""

    code: Code
    message: Annotated[str, Field(description="In Chinese, French or English by Accept-Language.")]
    details: dict[str, Any]


class ErrorAnswer(Answer):
    """The shape of every error."""

    status: Literal["error"]
    error: ErrorBody
    timestamp: Instant


class DeploymentAnswer(Answer):
    """What a deployment or an update is, or will be."""

    deployment_id: Id
    message: str


class ScaleAnswer(Answer):
    """From how many replicas to how many."""

    message: str
    current_replicas: Count
    target_replicas: Count


class DeleteAnswer(Answer):
    """It is gone, or will be."""

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
    """How many are wished, how many run, and how many of those serve."""

    desired: Count
    current: Count
    ready: Count


class Endpoint(Answer):
    """Where a model is called."""

    type: Literal["inference", "batch_inference"]
    url: str


class Usage(Answer):
    """Measured, as Kubernetes quantities."""

    cpu: Annotated[str, Field(pattern=r"^[0-9]+m$")]
    memory: Annotated[str, Field(pattern=r"^[0-9]+Mi$")]
    gpu: Annotated[str, Field(pattern=r"^[0-9]+$")]


class ShownConfig(Answer):
    """The config of the wanted revision; values of environment variables are masked."""

    framework: Framework
    docker_image: str
    resource_requirements: dict[str, str]
    scaling_config: dict[str, int]
    environment_variables: dict[str, Literal["******"]]


class ShownReplica(Answer):
    """One replica."""

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
    """The whole of what is known of a model."""

    replicas: Replicas
    endpoints: list[Endpoint]
    resource_usage: Usage
    deployment_id: Id
    revision: Annotated[int, Field(ge=1)]
    message: str
    config: ShownConfig
    replica_details: list[ShownReplica]


class ReplicaLog(Answer):
    """The last lines that one replica wrote."""

    replica_id: Id
    state: ReplicaState
    lines: list[str]


class LogsAnswer(Answer):
    """The last lines of every replica."""

    model_id: ModelId
    replicas: list[ReplicaLog]


class ShownEvent(Answer):
    """Who changed what, when."""

    timestamp: Instant
    actor: Annotated[str, Field(description="A key's name, or `supervisor`.")]
    action: str
    deployment_id: Id
    details: dict[str, Any]


class InferenceAnswer(Answer):
    """What the model says."""

    request_id: RequestId
    model_id: ModelId
    output_data: dict[str, Any]
    confidence: float | None
    processing_time: Annotated[float, Field(ge=0, description="Seconds.")]
    timestamp: Instant


class ItemError(Answer):
    """Why the model has no output for an item."""

    code: Code
    message: str


class BatchItem(Answer):
    """What the model says of one item; where it has no output, `error` says why."""

    request_id: RequestId
    model_id: ModelId
    output_data: dict[str, Any] | None
    confidence: float | None
    processing_time: Annotated[float, Field(ge=0, description="Seconds.")]
    timestamp: Instant
    error: Annotated[ItemError, Field(default=None, description="Only where it failed.")]


class Models(Answer):
    """How many models are ready of those that are wanted."""

    wanted: Count
    ready: Count


class HealthAnswer(Answer):
    """How the platform is."""

    status: Literal["healthy", "degraded"]
    database: Literal["ok"]
    lease: Literal["held", "free"]
    backend: str
    backend_state: Literal["ok", "unavailable"]
    models: Models
    timestamp: Instant


class UnhealthyAnswer(Answer):
    """The platform without its database."""

    status: Literal["unhealthy"]
    database: Literal["unavailable"]
    backend: str
    timestamp: Instant
