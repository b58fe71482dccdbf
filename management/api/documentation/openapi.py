"""OpenAPI descriptions of the routes: bodies from the schemas, answers with examples, every error with its code.

FastAPI gets all of them explicitly, path parameters and security too. It does not parse the requests itself, and would
document answers that never occur.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel
from starlette.responses import Response

from management import errors
from management.api import schemas
from management.api.documentation import examples
from management.api.documentation import responses as answers
from management.api.errors import error_body
from management.api.messages import ERRORS, text
from management.errors import ManagementError

_KEYS: Final = [
    Security(APIKeyHeader(name="X-API-Key", scheme_name="key", auto_error=False)),
    Security(HTTPBearer(scheme_name="bearer", auto_error=False)),
]
"""The two ways to send an API key, for the document only: the authenticator has checked it before any route."""


class _LateBody(ManagementError):
    """The body did not arrive in time."""

    status = 408
    code = "REQUEST_TIMEOUT"


_EDGE: Final = (errors.InvalidRequest, errors.PayloadTooLarge, errors.UnsupportedMediaType)
"""Errors of any request, for example for a body or a Content-Length that its route does not expect."""
_ALWAYS: Final = (
    *_EDGE,
    errors.Unauthorized,
    errors.Forbidden,
    errors.TooManyRequests,
    errors.StoreUnavailable,
)
_CHANGES: Final = (
    _LateBody,
    errors.InvalidModelConfig,
    errors.RequestRunning,
    errors.KeyReused,
    errors.BackendUnavailable,
    errors.InsufficientResources,
)
_CALLS: Final = (
    _LateBody,
    errors.ModelNotFound,
    errors.InferenceTimeout,
    errors.ItemRefused,
    errors.ModelFailed,
    errors.BackendUnavailable,
    errors.InsufficientResources,
    errors.ModelNotReady,
)
_MODEL_ID: Final = {
    "name": "model_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": schemas.MODEL_ID},
}
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    "description": "A repeated request with the same key and body gets the first answer, for 24 hours.",
}
_LANGUAGE: Final = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The language of messages: zh, fr or en; ATELIER_LANGUAGE is the default (zh). Codes never change.",
}
_NAMED: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "At most 64 letters, digits, dots, underscores and hyphens; another id is replaced by a new one.",
}
_QUANTITY: Final = r"[0-9]{1,12}(\.[0-9]{1,6})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_REFINED: Final[Mapping[str, Mapping[str, Any]]] = {
    "cpu": {"pattern": f"^(?=[0-9.]*[1-9]){_QUANTITY}", "examples": ["500m"]},
    "memory": {"pattern": f"^(?=[0-9.]*[1-9]){_QUANTITY}", "examples": ["8Gi"]},
    "nvidia.com/gpu": {"pattern": f"^{_QUANTITY}", "description": "A whole number.", "examples": ["1"]},
    "name": {"description": "Without control characters."},
    "docker_image": {
        "description": "Its last part names a Bento with its exact version; `latest` is not a version.",
        "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
    },
    "environment_variables": {
        "description": "Values of at most 4096 bytes, on one line. Names that a library reads are refused.",
        "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]{0,63}$"},
    },
}
"""Descriptions and patterns by field, for rules that the schemas check in code."""


def change(name: str, summary: str, body: type[BaseModel] | None, answer: type[BaseModel]) -> dict[str, Any]:
    """A route that changes the desired state; deleting has no body."""
    possible = [*_ALWAYS, errors.DeploymentFailed, *(_CHANGES if body is not None else ())]
    possible.append(errors.ModelAlreadyExists if body is schemas.DeployBody else errors.ModelNotFound)
    parameters = [*_queries(schemas.WaitQuery if body is not None else schemas.DeleteQuery)]
    extra: dict[str, Any] = {}
    if body is not None:
        parameters.append(_IDEMPOTENCY)
        extra = _request_body(body)
    replayed = {"Idempotency-Replayed": _header("`true` if this is the recorded answer to an earlier request.")}
    responses = {
        200: _json("It is done.", answer, _EXAMPLES[answer], replayed),
        202: _json("It is under way.", answer, _EXAMPLES[answer], replayed),
        **_errors(possible),
    }
    return _route(name, summary, "models", responses, _on_model(parameters, body is not schemas.DeployBody), extra) | {
        "status_code": 202
    }


def view(name: str, summary: str, answer: Any, example: Any, query: type[BaseModel] | None = None) -> dict[str, Any]:
    """A route that reads."""
    listing = query is schemas.ListQuery
    possible = [*_ALWAYS, *([] if listing else [errors.ModelNotFound])]
    headers = {"Link": _header("The next and the previous page (RFC 8288)."), "X-Total-Count": _TOTAL}
    shown = _json("The current state.", answer, example, headers if listing else {})
    parameters = _on_model(_queries(query) if query else [], not listing)
    return _route(name, summary, "models", {200: shown, **_errors(possible)}, parameters, {})


def inference(name: str, summary: str, body: type[BaseModel], *, batch: bool) -> dict[str, Any]:
    """A route that calls a model."""
    answer: Any = list[answers.BatchItem] if batch else answers.InferenceAnswer
    output = _json("The model's output.", answer, examples.INFERRED_BATCH if batch else examples.INFERRED)
    responses = {200: output, **_errors([*_ALWAYS, *_CALLS])}
    return _route(name, summary, "inference", responses, _on_model([], True), _request_body(body))


def health(name: str) -> dict[str, Any]:
    """The route of the management's health, which needs no key."""
    responses = {
        200: _json("The management works.", answers.HealthAnswer, examples.HEALTHY),
        503: _json("The database is unavailable.", answers.UnhealthyAnswer, examples.UNHEALTHY),
        **_errors(_EDGE),
    }
    summary = "Database, lease, backend, and how many of the wanted models are ready"
    return _route(name, summary, "health", responses, [], {"security": []}) | {"dependencies": []}


def metrics(name: str) -> dict[str, Any]:
    """The route of the metrics, whose answer is text for Prometheus, not JSON."""
    described = _json("Metrics of this worker and of the recorded state.", None, None)
    del described["model"]
    described["content"] = {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}}
    summary = "Requests, queues, replicas and rejections, for Prometheus"
    return _route(name, summary, "metrics", {200: described, **_errors(_ALWAYS)}, [], {}) | {"response_class": Response}


def _route(  # noqa: PLR0913, PLR0917
    name: str,
    summary: str,
    tag: str,
    responses: dict[int | str, Any],
    parameters: list[dict[str, Any]],
    extra: dict[str, Any],
) -> dict[str, Any]:
    return {
        "operation_id": name,
        "summary": summary,
        "tags": [tag],
        "dependencies": _KEYS,
        "responses": responses,
        "openapi_extra": {"parameters": [*parameters, _LANGUAGE, _NAMED], **extra},
    }


def _on_model(parameters: list[dict[str, Any]], has_id: bool) -> list[dict[str, Any]]:
    return [*([_MODEL_ID] if has_id else []), *parameters]


_EXAMPLES: Final[Mapping[type[BaseModel], Any]] = {
    schemas.DeployBody: examples.DEPLOY,
    schemas.UpdateBody: examples.UPDATE,
    schemas.ScaleBody: examples.SCALE,
    schemas.InferenceBody: examples.INFER,
    schemas.BatchBody: examples.BATCH,
    answers.DeploymentAnswer: examples.DEPLOYED,
    answers.ScaleAnswer: examples.SCALED,
    answers.DeleteAnswer: examples.DELETED,
}


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_TOTAL: Final = _header("Number of models on all pages.", "integer") | {"required": True}
_ERROR_HEADERS: Final[Mapping[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": _header("How to send a key.") | {"required": True}},
    409: {"Retry-After": _header("Seconds, where a later try may be answered.", "integer")},
    429: {"Retry-After": _header("Seconds.", "integer") | {"required": True}},
    503: {"Retry-After": _header("Seconds, where a later try may be answered.", "integer")},
}


def _errors(kinds: Iterable[type[ManagementError]]) -> dict[int | str, dict[str, Any]]:
    """The errors by HTTP status; each code has an example."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        message = text(ERRORS, kind.code, "en") if kind.code in ERRORS else (kind.__doc__ or "").strip()
        response = by_status.setdefault(
            kind.status, _json(message, answers.ErrorAnswer, None, _ERROR_HEADERS.get(kind.status))
        )
        content = response["content"]["application/json"]
        content.pop("example", None)
        body = {**error_body(kind.code, message, {}), "timestamp": examples.INSTANT}
        content.setdefault("examples", {})[kind.code] = {"value": body}
    return by_status


def _json(description: str, model: Any, example: Any, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    named = {"X-Request-ID": _header("The request's id, which the logs show too.") | {"required": True}}
    return {
        "description": description,
        "model": model,
        "headers": {**named, **(headers or {})},
        "content": {"application/json": {"example": example}},
    }


def _request_body(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    content = {"schema": _refined(_inlined(schema, definitions)), "example": _EXAMPLES[model]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _refined(schema: Any) -> Any:
    """The schema with the rules that the schemas check in code."""
    if isinstance(schema, list):
        return [_refined(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    refined = {key: _refined(value) for key, value in schema.items()}
    for name, field in refined.get("properties", {}).items():
        if name in _REFINED:
            strings = (choice for choice in field.get("anyOf", [field]) if choice.get("type") != "null")
            next(strings).update(_REFINED[name])
    return refined


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its references replaced by their targets, which FastAPI would not copy into the document."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
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
            "description": field.get("description", ""),
            "schema": _without_null(_inlined(field, definitions)),
        }
        for name, field in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without null: a query parameter can be omitted, but not null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key not in ("anyOf", "default")}, **choices[0]}
