"""OpenAPI descriptions of the routes: bodies from the schemas, answers by example, every error with its code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from management import errors, schemas
from management.answers import error_body
from management.errors import ManagementError
from management.messages import ERRORS, text

INSTANT: Final = "2026-01-01T12:00:00.000Z"
_ID: Final = "5f3a0c1e9b7d4f60a1c2d3e4f5061728"
_ALWAYS: Final = (errors.Unauthorized, errors.Forbidden, errors.TooManyRequests, errors.StoreUnavailable)
_BODY: Final = (errors.InvalidRequest, errors.PayloadTooLarge, errors.UnsupportedMediaType)
_CONFIG: Final = {
    "model_id": "tcm_diagnosis_v2",
    "name": "中医诊断模型 v2.0",
    "version": "2.0.0",
    "model_type": "tcm_diagnosis",
    "framework": "onnx",
    "docker_image": "atelier/tcm-diagnosis:2.0.0",
    "resource_requirements": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "0"},
    "scaling_config": {"min_replicas": 1, "max_replicas": 5, "target_cpu_utilization": 70},
}
DEPLOY: Final = {"config": _CONFIG}
UPDATE: Final = {
    "config": {
        "version": "2.1.0",
        "docker_image": "atelier/tcm-diagnosis:2.1.0",
        "resource_requirements": {"cpu": "4", "memory": "16Gi"},
    }
}
SCALE: Final = {"replicas": 3}
_LIST_ITEM: Final = {
    "model_id": "tcm_diagnosis_v2",
    "name": "中医诊断模型 v2.0",
    "version": "2.0.0",
    "status": "running",
    "model_type": "tcm_diagnosis",
    "created_at": INSTANT,
    "updated_at": INSTANT,
}
LISTED: Final = [_LIST_ITEM]
STATUS: Final = {
    **_LIST_ITEM,
    "replicas": {"desired": 1, "current": 1, "ready": 1},
    "endpoints": [{"type": "inference", "url": "http://localhost:8080/api/v1/models/tcm_diagnosis_v2/inference"}],
    "resource_usage": {"cpu": "3m", "memory": "160Mi", "gpu": "0"},
    "revision": 1,
    "message": "1/1 个副本就绪",
}
LOGS: Final = {"model_id": "tcm_diagnosis_v2", "replicas": [{"replica_id": _ID, "state": "ready", "lines": ["..."]}]}
EVENTS: Final = [
    {"timestamp": INSTANT, "actor": "admin", "action": "scale", "deployment_id": _ID, "details": {"from": 1, "to": 3}}
]
_ANSWER: Final = {
    "request_id": _ID,
    "model_id": "tcm_diagnosis_v2",
    "output_data": {"syndromes": [{"name": "脾气虚", "probability": 0.05}]},
    "confidence": 0.05,
    "processing_time": 0.004,
    "timestamp": INSTANT,
}
_ITEM: Final = {"input_data": {"symptoms": ["头痛", "乏力", "食欲不振"]}, "parameters": {"top_k": 3}}
_MODEL_ID: Final = {
    "name": "model_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": schemas.MODEL_ID},
}
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    "description": "The same key and body give the first answer again, for 24 hours.",
}


def change(summary: str, body: type[BaseModel] | None, example: Any) -> dict[str, Any]:
    """A route that changes a wish: with a body and its example, or with query parameters in place of the example."""
    model = schemas.WaitQuery if body is not None else example
    accepted = {"deployment_id": _ID, "message": "..."} if body is not None else {"message": "..."}
    if body is schemas.ScaleBody:
        accepted = {"message": "...", "current_replicas": 1, "target_replicas": 3}  # type: ignore[dict-item]
    possible = [*_ALWAYS, errors.DeploymentFailed]
    if body is not schemas.DeployBody:
        possible.append(errors.ModelNotFound)
    if body is not None:
        possible += [
            *_BODY,
            errors.InvalidModelConfig,
            errors.RequestRunning,
            errors.KeyReused,
            errors.InsufficientResources,
        ]
        possible += [errors.ModelAlreadyExists] if body is schemas.DeployBody else []
    else:
        possible.append(errors.InvalidRequest)
    extra = {"parameters": [*_queries(model), *([_IDEMPOTENCY] if body is not None else [])]}
    if body is not None:
        extra |= _request_body(body, example)
    return {
        "summary": summary,
        "tags": ["models"],
        "status_code": 202,
        "responses": {
            200: _json("It is done.", accepted),
            202: _json("It is under way.", accepted),
            **_errors(possible),
        },
        "openapi_extra": extra,
    }


def view(summary: str, example: Any, model: type[BaseModel] | None = None) -> dict[str, Any]:
    """A route that shows something."""
    possible = [*_ALWAYS, *([errors.InvalidRequest] if model else [])]
    if model is not schemas.ListQuery:
        possible.append(errors.ModelNotFound)
    return {
        "summary": summary,
        "tags": ["models"],
        "responses": {200: _json("What is known.", example), **_errors(possible)},
        "openapi_extra": {"parameters": _queries(model) if model else []},
    }


def inference(summary: str, body: type[BaseModel], *, batch: bool) -> dict[str, Any]:
    """A route that calls a model."""
    example: Any = {"requests": [_ITEM, _ITEM]} if batch else {**_ITEM}
    possible = [*_ALWAYS, *_BODY, errors.ModelNotFound, errors.InferenceTimeout, errors.ItemRefused, errors.ModelFailed]
    possible += [errors.InsufficientResources, errors.ModelNotReady]
    return {
        "summary": summary,
        "tags": ["inference"],
        "responses": {
            200: _json("What the model says.", [_ANSWER, _ANSWER] if batch else _ANSWER),
            **_errors(possible),
        },
        "openapi_extra": _request_body(body, {**example, "timeout": 30, "priority": "normal"}),
    }


def health() -> dict[str, Any]:
    """The platform's health; it wants no key."""
    example = {"status": "healthy", "database": "ok", "lease": "held", "backend": "process", "timestamp": INSTANT}
    example |= {"models": {"wanted": 2, "ready": 2}}  # type: ignore[dict-item]
    return {
        "summary": "Database, lease, backend, and how many models are ready of those wanted",
        "tags": ["health"],
        "responses": {200: _json("It works.", example), 503: _json("It does not.", {**example, "status": "unhealthy"})},
        "openapi_extra": {"security": []},
    }


def _errors(kinds: Iterable[type[ManagementError]]) -> dict[int | str, dict[str, Any]]:
    """By status; where several codes share one, each is an example."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        told = text(ERRORS, kind.code, "en") if kind.code in ERRORS else (kind.__doc__ or "").strip()
        content = by_status.setdefault(kind.status, _json(told, None))["content"]["application/json"]
        content.pop("example", None)
        body = {**error_body(kind.code, told, {}), "timestamp": INSTANT}
        content.setdefault("examples", {})[kind.code] = {"value": body}
    return by_status


def _json(description: str, example: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


def _request_body(model: type[BaseModel], example: Any) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    content = {"schema": _inlined(schema, definitions), "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references: FastAPI would not carry their targets along."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", maxsplit=1)[-1]]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined({**target, **rest}, definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def _queries(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": told.get("description", ""),
            "schema": _without_null(_inlined(told, definitions)),
        }
        for name, told in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is left out, never null."""
    choices = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(choices) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key not in ("anyOf", "default")}, **choices[0]}
