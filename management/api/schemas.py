"""The bodies and query parameters of the API: pydantic validates by them, and OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from management.domain.records import Status
from management.errors import InvalidModelConfig
from management.forms import fields
from management.forms.bodies import Body, ChangedConfigBody, ConfigBody, example
from management.gateway.contract import MOST_ELEMENTS

DEFAULT_TIMEOUT_SECONDS: Final = 30
_ITEM: Final = {"input_data": {"symptoms": ["头痛", "乏力", "食欲不振"]}, "parameters": {"top_k": 3}}


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
    api: fields.ApiName | None = None


class BatchBody(Body):
    """``POST /models/{model_id}/batch_inference``."""

    most = MOST_ELEMENTS
    model_config = example({"requests": [_ITEM, _ITEM], "timeout": 60, "priority": "normal"})
    requests: Annotated[list[ItemBody], Field(min_length=1, max_length=fields.MAX_ITEMS)]
    timeout: fields.Timeout = DEFAULT_TIMEOUT_SECONDS
    priority: fields.Priority = "normal"
    api: fields.ApiName | None = None


def _omitted(schema: dict[str, Any]) -> None:
    """Describe a query parameter that is None where it is omitted: unlike a body's field, it cannot be null."""
    schema.update(next(choice for choice in schema.pop("anyOf") if choice != {"type": "null"}))


class Query(BaseModel):
    """Base of all query parameters: text is converted, and unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """Filters and page of the list of models."""

    status: Status | None = Field(None, description="Only models of this status.", json_schema_extra=_omitted)
    model_type: fields.ModelType | None = Field(
        None, description="Only models of this type.", json_schema_extra=_omitted
    )
    limit: fields.Limit = Field(50, description="Maximum number of models in the answer.")
    offset: fields.Offset = Field(0, description="Number of models to skip.")


class BentoListQuery(Query):
    """Filter and page of the list of Bentos."""

    name: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="Only versions of this Bento.", json_schema_extra=_omitted
    )
    limit: fields.Limit = Field(50, description="Maximum number of Bentos in the answer.")
    offset: fields.Offset = Field(0, description="Number of Bentos to skip.")


class WaitQuery(Query):
    """Whether the answer waits for the outcome."""

    wait: fields.Seconds = Field(0.0, description="Seconds to wait for the outcome.")


class DeleteQuery(WaitQuery):
    """How to delete a model, and whether the answer waits for the outcome."""

    force: fields.Flag = Field(default=False, description="Do not wait for requests in flight.")


class LogsQuery(Query):
    """How many lines of each log to return."""

    tail: fields.Lines = Field(100, description="Last lines of each replica.")


class EnvironmentQuery(Query):
    """How many lines of the log of an environment's making to return."""

    tail: fields.Lines = Field(100, description="Last lines of the log.")


class EventsQuery(Query):
    """How many events to return."""

    limit: fields.Events = Field(100, description="Number of newest events.")
