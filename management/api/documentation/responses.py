"""The API's answers as models with examples. Only the OpenAPI document uses them, as named schemas."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from management.domain.records import ReplicaState
from management.domain.secrets import NAME as SECRET_NAME
from management.forms.bodies import example
from management.forms.fields import MODEL_ID

INSTANT: Final = "2026-01-01T12:00:00.000Z"
SOME_ID: Final = "5f3a0c1e9b7d4f60a1c2d3e4f5061728"
_INFERRED: Final[dict[str, Any]] = {
    "request_id": SOME_ID,
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

    model_config = example({"deployment_id": SOME_ID, "message": "..."})
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


class ReplicaLog(Answer):
    """The last lines of one replica's log."""

    replica_id: Id
    state: ReplicaState
    lines: list[str]


class LogsAnswer(Answer):
    """The last lines of every replica's log."""

    model_config = example(
        {"model_id": "tcm_diagnosis_v2", "replicas": [{"replica_id": SOME_ID, "state": "ready", "lines": ["..."]}]}
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
            "deployment_id": SOME_ID,
            "details": {"from": 1, "to": 3},
        }
    )
    timestamp: Instant
    actor: Annotated[str, Field(description="A key's name, or `supervisor`.")]
    action: str
    deployment_id: Id
    details: dict[str, Any]


_SECRET: Final[dict[str, Any]] = {
    "name": "hf",
    "description": "",
    "variables": ["HF_TOKEN"],
    "files": [],
    "paths": {},
    "version": "5f3a0c1e9b7d4f60",
    "created_at": INSTANT,
    "updated_at": INSTANT,
    "model_ids": ["tcm_diagnosis_v2"],
}


class ShownSecret(Answer):
    """A secret without its values, which nothing shows."""

    model_config = example(_SECRET)
    name: Annotated[str, Field(pattern=SECRET_NAME)]
    description: Annotated[str, Field(description="As BentoML's commands gave it.")]
    variables: Annotated[list[str], Field(description="Names of its environment variables.")]
    files: Annotated[list[str], Field(description="Paths of its files.")]
    paths: Annotated[dict[str, str], Field(description="Environment variables that get the path of a file.")]
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="Another one after each change.")]
    created_at: Instant
    updated_at: Instant
    model_ids: Annotated[list[str], Field(description="Models that name it.")]


class SecretAnswer(ShownSecret):
    """A secret that was set, and what follows for running replicas."""

    model_config = example({**_SECRET, "message": "..."})
    message: str


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

    model_config = example({**_INFERRED, "request_id": f"{SOME_ID}.0"})
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
