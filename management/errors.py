"""Errors of the management API, with the HTTP status and the code of each.

    ManagementError                 500 INTERNAL_ERROR
    ├── InvalidRequest              400 INVALID_REQUEST
    │   └── InvalidModelConfig      400 INVALID_MODEL_CONFIG
    ├── Unauthorized                401 UNAUTHORIZED
    ├── Forbidden                   403 FORBIDDEN
    ├── RouteNotFound               404 NOT_FOUND
    ├── ModelNotFound               404 MODEL_NOT_FOUND
    ├── MethodNotAllowed            405 METHOD_NOT_ALLOWED
    ├── InferenceTimeout            408 INFERENCE_TIMEOUT
    ├── ModelAlreadyExists          409 MODEL_ALREADY_EXISTS
    │   └── ModelBeingDeleted
    ├── RequestRunning              409 REQUEST_RUNNING
    ├── PayloadTooLarge             413 PAYLOAD_TOO_LARGE
    ├── UnsupportedMediaType        415 UNSUPPORTED_MEDIA_TYPE
    ├── ItemRefused                 422 the model's own code
    ├── KeyReused                   422 IDEMPOTENCY_KEY_REUSED
    ├── TooManyRequests             429 TOO_MANY_REQUESTS
    ├── DeploymentFailed            500 DEPLOYMENT_FAILED
    ├── ModelFailed                 502 MODEL_FAILED
    ├── BackendUnavailable          503 BACKEND_UNAVAILABLE
    ├── InsufficientResources       503 INSUFFICIENT_RESOURCES
    │   ├── QueueFull
    │   └── ModelBusy
    ├── ModelNotReady               503 MODEL_NOT_READY
    │   ├── ModelStopped
    │   └── ModelGaveUp
    └── StoreUnavailable            503 STORE_UNAVAILABLE

The message of each stands in ``messages.py``, in three languages, under its code; ``details`` is for programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar


class ManagementError(Exception):
    """The root: something failed that the caller cannot mend."""

    status: ClassVar[int] = 500
    code: str = "INTERNAL_ERROR"
    wording: ClassVar[str] = ""
    """Key of a text that says more than the one of ``code``."""

    def __init__(self, details: Mapping[str, Any] | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(self.code)
        self.details = dict(details or {})
        self.retry_after = retry_after
        """Seconds after which to ask again."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with one field of a request: a kind, and values for its text. Fronts put it into words."""

    field: str
    """The field's path, as ``config.scaling_config``; empty for the body as a whole."""
    kind: str
    values: Mapping[str, object] = dataclasses.field(default_factory=dict)


class InvalidRequest(ManagementError):
    """The request does not say what the endpoint needs; ``problems`` lists all that is wrong."""

    status = 400
    code = "INVALID_REQUEST"

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


class InvalidModelConfig(InvalidRequest):
    """A model cannot be deployed, scaled or updated as it is described."""

    code = "INVALID_MODEL_CONFIG"


class Unauthorized(ManagementError):
    """No key, or none that is known."""

    status = 401
    code = "UNAUTHORIZED"


class Forbidden(ManagementError):
    """The key's role does not allow it."""

    status = 403
    code = "FORBIDDEN"


class RouteNotFound(ManagementError):
    """Nothing is served under this path."""

    status = 404
    code = "NOT_FOUND"


class ModelNotFound(ManagementError):
    """No model has this id."""

    status = 404
    code = "MODEL_NOT_FOUND"


class MethodNotAllowed(ManagementError):
    """The path is served, with other methods."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class InferenceTimeout(ManagementError):
    """No answer within the request's ``timeout``, waiting included."""

    status = 408
    code = "INFERENCE_TIMEOUT"


class ModelAlreadyExists(ManagementError):
    """The id is taken."""

    status = 409
    code = "MODEL_ALREADY_EXISTS"


class ModelBeingDeleted(ModelAlreadyExists):
    """The id is taken by a model whose deletion is under way."""

    wording = "MODEL_BEING_DELETED"


class RequestRunning(ManagementError):
    """A request with this Idempotency-Key is not answered yet."""

    status = 409
    code = "REQUEST_RUNNING"


class PayloadTooLarge(ManagementError):
    """The body is larger than the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(ManagementError):
    """The body is not JSON."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class ItemRefused(ManagementError):
    """The model refuses this input; code and message are its own."""

    status = 422
    code = "INVALID_INPUT"

    def __init__(self, code: str, message: str) -> None:
        super().__init__()
        self.code = code
        self.message = message


class KeyReused(ManagementError):
    """The Idempotency-Key was given with another request."""

    status = 422
    code = "IDEMPOTENCY_KEY_REUSED"


class TooManyRequests(ManagementError):
    """Too many wrong keys from one address."""

    status = 429
    code = "TOO_MANY_REQUESTS"


class DeploymentFailed(ManagementError):
    """The change that was waited for failed."""

    code = "DEPLOYMENT_FAILED"


class ModelFailed(ManagementError):
    """The model failed on this request, or its answer cannot be read."""

    status = 502
    code = "MODEL_FAILED"


class BackendUnavailable(ManagementError):
    """The backend that runs the replicas does not answer; running replicas stay."""

    status = 503
    code = "BACKEND_UNAVAILABLE"


class InsufficientResources(ManagementError):
    """The machine has too few resources, or too many requests wait."""

    status = 503
    code = "INSUFFICIENT_RESOURCES"


class QueueFull(InsufficientResources):
    """The model's queue is full."""


class ModelBusy(InsufficientResources):
    """The model's replica takes no further request."""


class ModelNotReady(ManagementError):
    """No replica of the model is ready."""

    status = 503
    code = "MODEL_NOT_READY"


class ModelStopped(ModelNotReady):
    """The model was scaled to 0; waiting does not help."""

    wording = "MODEL_STOPPED"


class ModelGaveUp(ModelNotReady):
    """Its replicas failed too often; waiting does not help."""

    wording = "MODEL_GAVE_UP"


class StoreUnavailable(ManagementError):
    """The database cannot be read or written now."""

    status = 503
    code = "STORE_UNAVAILABLE"
