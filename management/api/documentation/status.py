"""The answers that show models: an entry of the list, and the status of a model."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from management.api.documentation.responses import INSTANT, SOME_ID, Answer, Count, Id, Instant, ModelId
from management.domain.records import ReplicaState, Status
from management.domain.strategy import Strategy
from management.forms.bodies import example
from management.forms.fields import Framework, ModelType

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

    type: Annotated[
        Literal["inference", "batch_inference", "own", "host"],
        Field(description="`own` and `host` are the model's own root: by path, and by a host name of its own."),
    ]
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
    secrets: Annotated[list[str], Field(description="Names of the secrets that its replicas receive.")]
    default_api: Annotated[str, Field(default=None, description="Only if one was chosen.")]
    access_authorization: Annotated[Literal[False], Field(default=None, description="Only if no key is required.")]
    strategy: Annotated[Strategy, Field(default=None, description="Only if it is not RollingUpdate.")]
    labels: Annotated[dict[str, str], Field(default=None, description="Only if there are any.")]


class ShownApi(Answer):
    """An API of a Bento's entry service."""

    name: str
    route: str
    description: str
    input: Annotated[
        dict[str, Any],
        Field(description="JSON schema of the body; BentoML adds the types `file`, `tensor` and `dataframe`."),
    ]
    output: Annotated[dict[str, Any], Field(description="JSON schema of the answer.")]
    batchable: bool
    streams: bool
    task: bool


class ShownEnvironment(Answer):
    """The environment that a model's replicas run in."""

    state: Annotated[
        Literal["server", "preparing", "ready", "failed", "absent"],
        Field(description="server: the server's own. absent: it is made before the next start."),
    ]
    digest: Annotated[str | None, Field(description="Name of the model's own environment.")] = None
    python: Annotated[str, Field(description="Minor version of Python.")]
    size: Annotated[str | None, Field(pattern=r"^[0-9]+Mi$")] = None
    reason: Annotated[str | None, Field(description="Why it could not be made.")] = None


class EnvironmentAnswer(Answer):
    """The environment of a model's replicas, what is installed in it, and the log of its making."""

    model_config = example(
        {
            "model_id": "hello",
            "environment": {
                "state": "ready",
                "digest": "0f3a5b6c7d8e9f0a1b2c3d4e",
                "python": "3.11",
                "size": "312Mi",
            },
            "packages": ["bentoml==1.4.39", "numpy==1.26.4"],
            "log": ["$ installing the requirements", "Installed 52 packages in 810ms"],
        }
    )
    model_id: ModelId
    environment: ShownEnvironment | None
    packages: list[str]
    log: list[str]


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
                {"type": "own", "url": "http://localhost:8080/models/tcm_diagnosis_v2/"},
                {"type": "host", "url": "http://tcm_diagnosis_v2.models.localhost:8080/"},
            ],
            "resource_usage": {"cpu": "3m", "memory": "160Mi", "gpu": "0"},
            "deployment_id": SOME_ID,
            "revision": 1,
            "message": "1/1 个副本就绪",
            "environment": {"state": "server", "python": "3.11"},
            "config": {
                "framework": "onnx",
                "docker_image": "atelier/tcm-diagnosis:2.0.0",
                "resource_requirements": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "0"},
                "scaling_config": {"min_replicas": 1, "max_replicas": 5, "target_cpu_utilization": 70},
                "environment_variables": {"LOG_LEVEL": "******"},
                "secrets": ["hf"],
            },
            "replica_details": [],
            "apis": [],
        }
    )
    replicas: Replicas
    endpoints: list[Endpoint]
    resource_usage: Usage
    deployment_id: Id
    revision: Annotated[int, Field(ge=1)]
    message: str
    environment: Annotated[ShownEnvironment | None, Field(description="None where the image is the environment.")]
    config: ShownConfig
    replica_details: list[ShownReplica]
    apis: Annotated[list[ShownApi], Field(description="Empty where the files of the Bento are not known.")]
