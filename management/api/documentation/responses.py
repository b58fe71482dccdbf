"""The API's answers as models with examples. Only the OpenAPI document uses them, as named schemas."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from management.api.fields import MODEL_ID
from management.api.schemas import example
from management.domain.model_types import Framework, ModelType
from management.domain.records import ReplicaState, Status

INSTANT: Final = "2026-01-01T12:00:00.000Z"
_ID: Final = "5f3a0c1e9b7d4f60a1c2d3e4f5061728"
_LISTED: Final[dict[str, Any]] = {
    "model_id": "tcm_diagnosis_v2",
    "name": "中医诊断模型 v2.0",
    "version": "2.0.0",
    "status": "running",
    "model_type": "tcm_diagnosis",
    "created_at": INSTANT,
    "updated_at": INSTANT,
}
_MODELS: Final = "http://localhost:8080/api/v1/models/tcm_diagnosis_v2"
_INFERRED: Final[dict[str, Any]] = {
    "request_id": _ID,
    "model_id": "tcm_diagnosis_v2",
    "output_data": {"syndromes": [{"name": "脾气虚", "probability": 0.05}]},
    "confidence": 0.05,
    "processing_time": 0.004,
    "timestamp": INSTANT,
}

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

    model_config = example({"deployment_id": _ID, "message": "..."})
    deployment_id: Id
    message: str


class ScaleAnswer(Answer):
    """The current and the target number of replicas."""

    model_config = example({"message": "...", "current_replicas": 1, "target_replicas": 3})
    message: str
    current_replicas: Count
    target_replicas: Count


class DeleteAnswer(Answer):
    """The outcome of a deletion, or a notice that it is under way."""

    model_config = example({"message": "..."})
    message: str


class ListedModel(Answer):
    """A model in the list."""

    model_config = example(_LISTED)
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

    model_config = example(
        {
            **_LISTED,
            "replicas": {"desired": 1, "current": 1, "ready": 1},
            "endpoints": [
                {"type": "inference", "url": f"{_MODELS}/inference"},
                {"type": "batch_inference", "url": f"{_MODELS}/batch_inference"},
            ],
            "resource_usage": {"cpu": "3m", "memory": "160Mi", "gpu": "0"},
            "deployment_id": _ID,
            "revision": 1,
            "message": "1/1 个副本就绪",
            "config": {
                "framework": "onnx",
                "docker_image": "atelier/tcm-diagnosis:2.0.0",
                "resource_requirements": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "0"},
                "scaling_config": {"min_replicas": 1, "max_replicas": 5, "target_cpu_utilization": 70},
                "environment_variables": {"LOG_LEVEL": "******"},
            },
            "replica_details": [],
        }
    )
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

    model_config = example(
        {"model_id": "tcm_diagnosis_v2", "replicas": [{"replica_id": _ID, "state": "ready", "lines": ["..."]}]}
    )
    model_id: ModelId
    replicas: list[ReplicaLog]


class ShownEvent(Answer):
    """A change of a model: who made it, and when."""

    model_config = example(
        {
            "timestamp": INSTANT,
            "actor": "admin",
            "action": "scale",
            "deployment_id": _ID,
            "details": {"from": 1, "to": 3},
        }
    )
    timestamp: Instant
    actor: Annotated[str, Field(description="A key's name, or `supervisor`.")]
    action: str
    deployment_id: Id
    details: dict[str, Any]


class _Result(Answer):
    request_id: RequestId
    model_id: ModelId
    confidence: float | None
    processing_time: Annotated[float, Field(ge=0, description="Seconds.")]
    timestamp: Instant


class InferenceAnswer(_Result):
    """The model's output for one input."""

    model_config = example(_INFERRED)
    output_data: dict[str, Any]


class ItemError(Answer):
    """The reason why an item has no output."""

    code: Code
    message: str


class BatchItem(_Result):
    """The model's output for one item of a batch; without an output, `error` gives the reason."""

    model_config = example({**_INFERRED, "request_id": f"{_ID}.0"})
    output_data: dict[str, Any] | None
    error: Annotated[ItemError, Field(default=None, description="Only if the item failed.")]


class Models(Answer):
    """The number of models that should run, and how many of them are ready."""

    wanted: Count
    ready: Count


class HealthAnswer(Answer):
    """The health of the management."""

    model_config = example(
        {
            "status": "healthy",
            "database": "ok",
            "lease": "held",
            "backend": "process",
            "backend_state": "ok",
            "models": {"wanted": 2, "ready": 2},
            "timestamp": INSTANT,
        }
    )
    status: Literal["healthy", "degraded"]
    database: Literal["ok"]
    lease: Literal["held", "free"]
    backend: str
    backend_state: Literal["ok", "unavailable"]
    models: Models
    timestamp: Instant


class UnhealthyAnswer(Answer):
    """The health of the management while its database is unavailable."""

    model_config = example(
        {"status": "unhealthy", "database": "unavailable", "backend": "process", "timestamp": INSTANT}
    )
    status: Literal["unhealthy"]
    database: Literal["unavailable"]
    backend: str
    timestamp: Instant
