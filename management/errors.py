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

The message of each is in ``messages.py``, in three languages, under its code; ``details`` is for programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar


class ManagementError(Exception):
    """Root of all errors; raised itself for a failure that the caller cannot fix."""

    status: ClassVar[int] = 500
    code: str = "INTERNAL_ERROR"
    wording: ClassVar[str] = ""
    """Key of a message that says more than the one for ``code``; empty without one."""

    def __init__(self, details: Mapping[str, Any] | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(self.code)
        self.details = dict(details or {})
        self.retry_after = retry_after
        """Seconds after which the caller should try again; None without such advice."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem of one field of a request: its kind, and the values of its message."""

    field: str
    """Path of the field, such as ``config.scaling_config``; empty for the whole body."""
    kind: str
    values: Mapping[str, object] = dataclasses.field(default_factory=dict)


class InvalidRequest(ManagementError):
    """The request is invalid; ``problems`` lists everything that is wrong."""

    status = 400
    code = "INVALID_REQUEST"

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


class InvalidModelConfig(InvalidRequest):
    """The model cannot be deployed, scaled or updated with this configuration."""

    code = "INVALID_MODEL_CONFIG"


class Unauthorized(ManagementError):
    """The key is missing or unknown."""

    status = 401
    code = "UNAUTHORIZED"


class Forbidden(ManagementError):
    """The key's role does not allow the request."""

    status = 403
    code = "FORBIDDEN"


class RouteNotFound(ManagementError):
    """The path does not exist."""

    status = 404
    code = "NOT_FOUND"


class ModelNotFound(ManagementError):
    """No model has this id."""

    status = 404
    code = "MODEL_NOT_FOUND"


class MethodNotAllowed(ManagementError):
    """The path exists with other methods."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class InferenceTimeout(ManagementError):
    """The request's ``timeout``, which includes waiting, passed without an answer."""

    status = 408
    code = "INFERENCE_TIMEOUT"


class ModelAlreadyExists(ManagementError):
    """The model id is in use."""

    status = 409
    code = "MODEL_ALREADY_EXISTS"


class ModelBeingDeleted(ModelAlreadyExists):
    """The model id is in use by a model that is being deleted."""

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
    """The model refuses the input; code and message are the model's own."""

    status = 422
    code = "INVALID_INPUT"

    def __init__(self, code: str, message: str) -> None:
        super().__init__()
        self.code = code
        self.message = message


class KeyReused(ManagementError):
    """The Idempotency-Key was used with another request."""

    status = 422
    code = "IDEMPOTENCY_KEY_REUSED"


class TooManyRequests(ManagementError):
    """The address has sent too many wrong keys."""

    status = 429
    code = "TOO_MANY_REQUESTS"


class DeploymentFailed(ManagementError):
    """The change that the request waited for failed."""

    code = "DEPLOYMENT_FAILED"


class ModelFailed(ManagementError):
    """The model failed on this request, or its answer cannot be parsed."""

    status = 502
    code = "MODEL_FAILED"


class BackendUnavailable(ManagementError):
    """The backend that runs the replicas does not answer; running replicas stay."""

    status = 503
    code = "BACKEND_UNAVAILABLE"


class InsufficientResources(ManagementError):
    """The machine has too few resources, or too many requests are waiting."""

    status = 503
    code = "INSUFFICIENT_RESOURCES"


class QueueFull(InsufficientResources):
    """The model's queue is full."""


class ModelBusy(InsufficientResources):
    """The model's replica accepts no further request."""


class ModelNotReady(ManagementError):
    """No replica of the model is ready."""

    status = 503
    code = "MODEL_NOT_READY"


class ModelStopped(ModelNotReady):
    """The model was scaled to 0; waiting does not help."""

    wording = "MODEL_STOPPED"


class ModelGaveUp(ModelNotReady):
    """The model's replicas failed too often; waiting does not help."""

    wording = "MODEL_GAVE_UP"


class StoreUnavailable(ManagementError):
    """The database cannot be read or written now."""

    status = 503
    code = "STORE_UNAVAILABLE"
