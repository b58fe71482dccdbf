"""What the OpenAPI document says beyond FastAPI's own: keys, headers, and every error with its status and code.

Bodies and parameters come from the handlers' signatures, examples from the models. The errors are listed by hand:
the edge raises some before a route is found, and the gateway and the store raise others below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import Depends, FastAPI, Header, Security, params
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.responses import Response

from management import errors
from management.api.documentation.responses import INSTANT, ErrorAnswer
from management.api.idempotency import read_by_once
from management.api.parsing import only_documents
from management.errors import ManagementError
from management.wording.errors import error_body
from management.wording.messages import ERRORS, text

_VALIDATION: Final = "ValidationError"
"""Part of the names of the two schemas that FastAPI adds for its answer 422."""


class DocumentedAPI(FastAPI):
    """FastAPI with the handlers' first sentences as summaries, and without the answer 422 of its own parsing."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            for name in [name for name in schemas if _VALIDATION in name]:
                del schemas[name]
            for operation in (operation for path in document["paths"].values() for operation in path.values()):
                if _VALIDATION in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
                operation["summary"], _, details = operation.pop("description").partition(".")
                if details:
                    operation["description"] = details.strip()
        return super().openapi()


@only_documents
async def read_by_all(
    _language: str = Header(
        None,
        alias="Accept-Language",
        description="The language of messages: zh, fr or en; ATELIER_LANGUAGE is the default (zh). Codes never change.",
    ),
    _request_id: str = Header(
        None,
        alias="X-Request-ID",
        description="At most 64 letters, digits, dots, underscores and hyphens; another id is replaced by a new one.",
    ),
) -> None:
    """What the edge and the error handlers read of a request."""


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
_CHANGES: Final = (*_ALWAYS, errors.DeploymentFailed)
_WITH_BODY: Final = (
    _LateBody,
    errors.InvalidModelConfig,
    errors.RequestRunning,
    errors.KeyReused,
    errors.BackendUnavailable,
    errors.InsufficientResources,
    errors.SecretsUnreadable,
)
_CALLS: Final = (
    _LateBody,
    errors.ModelNotFound,
    errors.InferenceTimeout,
    errors.StreamingApi,
    errors.TaskApi,
    errors.ItemRefused,
    errors.FileUnavailable,
    errors.ModelFailed,
    errors.BackendUnavailable,
    errors.InsufficientResources,
    errors.ModelNotReady,
)
_METRICS: Final = """# HELP atelier_model_waiting Requests that wait for a place
# TYPE atelier_model_waiting gauge
atelier_model_waiting{model="tcm_diagnosis_v2"} 3.0
"""


def change(answer: Any, unmet: type[ManagementError]) -> dict[str, Any]:
    """A route that deploys or changes a model; ``unmet`` is its error where the model is there, or is not."""
    return _change(answer, (*_WITH_BODY, unmet), Depends(read_by_once))


def deletion(answer: Any) -> dict[str, Any]:
    """The route that deletes a model."""
    return _change(answer, (errors.ModelNotFound,))


def _change(answer: Any, kinds: Iterable[type[ManagementError]], *reads: params.Depends) -> dict[str, Any]:
    replayed = {"Idempotency-Replayed": _header("`true` if this is the recorded answer to an earlier request.")}
    answers = {200: _json("It is done.", answer, replayed), 202: _json("It is under way.", answer, replayed)}
    return _route("models", answers, (*_CHANGES, *kinds), *_KEYS, *reads) | {"status_code": 202}


def view(answer: Any) -> dict[str, Any]:
    """A route that shows a model."""
    return _route("models", {200: _json("The current state.", answer)}, (*_ALWAYS, errors.ModelNotFound), *_KEYS)


def listing(answer: Any) -> dict[str, Any]:
    """The route that lists the models, page by page."""
    return _route("models", {200: _page(answer, "models")}, _ALWAYS, *_KEYS)


ARCHIVES: Final = ("application/octet-stream", "application/gzip", "application/x-tar", "application/zip")
"""Media types of an archive."""


@only_documents
async def read_by_upload(
    _digest: str = Header(
        None,
        alias="Content-Digest",
        description="Digests of the body by sha-256 or sha-512 (RFC 9530), which are compared; others are ignored.",
    ),
) -> None:
    """What the upload of a Bento reads of a request's headers."""


def upload(answer: Any) -> dict[str, Any]:
    """The route that takes a Bento in."""
    location = {"Location": _header("Path of the Bento.") | {"required": True}}
    answers = {
        201: _json("It is in the store.", answer, location),
        200: _json("It was there before.", answer, location),
    }
    kinds = (*_ALWAYS, _LateBody, errors.InvalidBento, errors.BentoAlreadyExists, errors.StorageFull)
    content = {name: {"schema": {"type": "string", "format": "binary"}} for name in ARCHIVES}
    body = {"requestBody": {"required": True, "description": "What `bentoml export` writes.", "content": content}}
    reads = (*_KEYS, Depends(read_by_upload))
    return _route("bentos", answers, kinds, *reads) | {"status_code": 201, "openapi_extra": body}


def bento_listing(answer: Any) -> dict[str, Any]:
    """The route that lists the Bentos, page by page."""
    return _route("bentos", {200: _page(answer, "Bentos")}, _ALWAYS, *_KEYS)


def bento_view(answer: Any) -> dict[str, Any]:
    """The route that shows a Bento."""
    return _route("bentos", {200: _json("The Bento.", answer)}, (*_ALWAYS, errors.BentoNotFound), *_KEYS)


def bento_deletion(answer: Any) -> dict[str, Any]:
    """The route that deletes a Bento."""
    kinds = (*_ALWAYS, errors.BentoNotFound, errors.BentoInUse)
    return _route("bentos", {200: _json("It is deleted.", answer)}, kinds, *_KEYS)


def secret(answer: Any, new: Any | None = None, *kinds: type[ManagementError]) -> dict[str, Any]:
    """A route of secrets; ``new`` is the answer where it makes one. All of them require an admin."""
    answers = {200: _json("The secret without its values, or the outcome.", answer)}
    made = {} if new is None else {201: _json("The secret is new.", new)}
    return _route("secrets", answers | made, (*_ALWAYS, *kinds), *_KEYS)


def inference(answer: Any) -> dict[str, Any]:
    """A route that calls a model."""
    return _route("inference", {200: _json("The model's output.", answer)}, (*_ALWAYS, *_CALLS), *_KEYS)


def health(well: Any, ill: Any) -> dict[str, Any]:
    """The route of the management's health, which says that it needs no key."""
    answers = {200: _json("The management works.", well), 503: _json("The database is unavailable.", ill)}
    return _route("health", answers, _EDGE) | {"openapi_extra": {"security": []}}


def metrics() -> dict[str, Any]:
    """The route of the metrics, whose answer is text for Prometheus, not JSON."""
    shown = {
        "description": "Metrics of this worker and of the recorded state.",
        "headers": _NAMED,
        "content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS}},
    }
    return _route("metrics", {200: shown}, _ALWAYS, *_KEYS) | {"response_class": Response}


def _route(
    tag: str,
    answers: Mapping[int, dict[str, Any]],
    kinds: Iterable[type[ManagementError]],
    *reads: params.Depends,
) -> dict[str, Any]:
    return {"tags": [tag], "responses": {**answers, **_errors(kinds)}, "dependencies": list(reads)}


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_NAMED: Final = {"X-Request-ID": _header("The request's id, which the logs show too.") | {"required": True}}
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
        response = by_status.setdefault(kind.status, _json(message, ErrorAnswer, _ERROR_HEADERS.get(kind.status)))
        content = response.setdefault("content", {}).setdefault("application/json", {})
        body = {**error_body(kind.code, message, {}), "timestamp": INSTANT}
        content.setdefault("examples", {})[kind.code] = {"value": body}
    return by_status


def _page(answer: Any, what: str) -> dict[str, Any]:
    total = _header(f"Number of {what} on all pages.", "integer") | {"required": True}
    headers = {"Link": _header("The next and the previous page (RFC 8288)."), "X-Total-Count": total}
    return _json("The current state.", answer, headers)


def _json(description: str, model: Any, headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "model": model, "headers": {**_NAMED, **(headers or {})}}
