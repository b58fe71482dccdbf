"""Errors of the management API, with the HTTP status and the code of each.

    ManagementError                 500 INTERNAL_ERROR
    ├── InvalidRequest              400 INVALID_REQUEST
    │   ├── InvalidModelConfig      400 INVALID_MODEL_CONFIG
    │   ├── InvalidBento            422 INVALID_BENTO
    │   └── InvalidModelFiles       422 INVALID_MODEL_FILES
    ├── Unauthorized                401 UNAUTHORIZED
    ├── Forbidden                   403 FORBIDDEN
    ├── RouteNotFound               404 NOT_FOUND
    │   └── PathNotServed
    ├── ModelNotFound               404 MODEL_NOT_FOUND
    ├── BentoNotFound               404 BENTO_NOT_FOUND
    ├── StoredModelNotFound         404 MODEL_FILES_NOT_FOUND
    ├── UploadNotFound              404 UPLOAD_NOT_FOUND
    ├── SecretNotFound              404 SECRET_NOT_FOUND
    ├── KeyNotFound                 404 KEY_NOT_FOUND
    ├── MethodNotAllowed            405 METHOD_NOT_ALLOWED
    ├── InferenceTimeout            408 INFERENCE_TIMEOUT
    ├── ModelAlreadyExists          409 MODEL_ALREADY_EXISTS
    │   └── ModelBeingDeleted
    ├── BentoAlreadyExists          409 BENTO_ALREADY_EXISTS
    │   └── BentoModelTaken
    ├── StoredModelTaken            409 MODEL_FILES_ALREADY_EXISTS
    ├── BentoInUse                  409 BENTO_IN_USE
    ├── RequestRunning              409 REQUEST_RUNNING
    ├── StreamingApi                409 STREAMING_API
    ├── TaskApi                     409 TASK_API
    ├── SecretInUse                 409 SECRET_IN_USE
    ├── PayloadTooLarge             413 PAYLOAD_TOO_LARGE
    ├── UnsupportedMediaType        415 UNSUPPORTED_MEDIA_TYPE
    │   └── ArchiveExpected
    ├── ItemRefused                 422 the model's own code
    ├── FileUnavailable             422 URL_REFUSED, UPSTREAM_FAILED or UPSTREAM_TIMEOUT
    ├── KeyReused                   422 IDEMPOTENCY_KEY_REUSED
    ├── TooManyRequests             429 TOO_MANY_REQUESTS
    ├── DeploymentFailed            500 DEPLOYMENT_FAILED
    ├── ModelFailed                 502 MODEL_FAILED
    ├── BackendUnavailable          503 BACKEND_UNAVAILABLE
    ├── InsufficientResources       503 INSUFFICIENT_RESOURCES
    │   ├── QueueFull
    │   ├── ModelBusy
    │   └── DownloadsBusy
    ├── ModelNotReady               503 MODEL_NOT_READY
    │   ├── ModelStopped
    │   └── ModelGaveUp
    ├── SecretsUnreadable           503 SECRETS_UNREADABLE
    ├── SharedStoreUnavailable      503 SHARED_STORE_UNAVAILABLE
    │   └── SharedArchiveDamaged
    ├── StoreUnavailable            503 STORE_UNAVAILABLE
    └── StorageFull                 507 STORAGE_FULL

The message of each is in ``wording/locales``, in three languages, under its code; ``details`` is for programs.
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


class InvalidBento(InvalidRequest):
    """The archive is not a Bento that may be kept."""

    status = 422
    code = "INVALID_BENTO"


class InvalidModelFiles(InvalidRequest):
    """The archive is not a model that may be kept."""

    status = 422
    code = "INVALID_MODEL_FILES"


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


class PathNotServed(RouteNotFound):
    """The model's Bento serves no such path."""

    wording = "PATH_NOT_SERVED"


class ModelNotFound(ManagementError):
    """No model has this id."""

    status = 404
    code = "MODEL_NOT_FOUND"


class BentoNotFound(ManagementError):
    """The Bento store does not have this Bento."""

    status = 404
    code = "BENTO_NOT_FOUND"


class StoredModelNotFound(ManagementError):
    """The model store does not have the files of this model."""

    status = 404
    code = "MODEL_FILES_NOT_FOUND"


class UploadNotFound(ManagementError):
    """No upload has this id, or it has ended."""

    status = 404
    code = "UPLOAD_NOT_FOUND"


class SecretNotFound(ManagementError):
    """No secret has this name."""

    status = 404
    code = "SECRET_NOT_FOUND"


class KeyNotFound(ManagementError):
    """No valid API key has this id."""

    status = 404
    code = "KEY_NOT_FOUND"


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


class BentoAlreadyExists(ManagementError):
    """The Bento store has another content under this tag."""

    status = 409
    code = "BENTO_ALREADY_EXISTS"


class BentoModelTaken(BentoAlreadyExists):
    """The model store has another content under the tag of one of the Bento's models."""

    wording = "BENTO_MODEL_TAKEN"


class StoredModelTaken(ManagementError):
    """The model store has another content under this tag."""

    status = 409
    code = "MODEL_FILES_ALREADY_EXISTS"


class BentoInUse(ManagementError):
    """Deployments use the Bento."""

    status = 409
    code = "BENTO_IN_USE"


class RequestRunning(ManagementError):
    """A request with this Idempotency-Key is not answered yet."""

    status = 409
    code = "REQUEST_RUNNING"


class StreamingApi(ManagementError):
    """The API answers with a stream, which has no end that an inference could wait for; ``details.url`` streams it."""

    status = 409
    code = "STREAMING_API"


class TaskApi(ManagementError):
    """The API is a task, whose result comes later; ``details.url`` takes it."""

    status = 409
    code = "TASK_API"


class SecretInUse(ManagementError):
    """The secret cannot be deleted, because models name it."""

    status = 409
    code = "SECRET_IN_USE"


class PayloadTooLarge(ManagementError):
    """The body is larger than the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(ManagementError):
    """The body is not JSON."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class ArchiveExpected(UnsupportedMediaType):
    """The body is not named as an archive."""

    wording = "ARCHIVE_EXPECTED"


class ItemRefused(ManagementError):
    """The model refuses the input; code and message are the model's own."""

    status = 422
    code = "INVALID_INPUT"

    def __init__(self, code: str, message: str) -> None:
        super().__init__()
        self.code = code
        self.message = message


class FileUnavailable(ManagementError):
    """A URL in the input was refused, or the server behind it did not give the file."""

    status = 422
    code = "UPSTREAM_FAILED"

    def __init__(self, code: str, field: str) -> None:
        super().__init__({"field": field})
        self.code = code


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


class DownloadsBusy(InsufficientResources):
    """As many downloads are under way as there may be."""

    wording = "DOWNLOADS_BUSY"


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


class SecretsUnreadable(ManagementError):
    """The key file is missing, or does not fit what is stored; ``details`` have the reason, and never a value."""

    status = 503
    code = "SECRETS_UNREADABLE"


class StoreUnavailable(ManagementError):
    """The database cannot be read or written now."""

    status = 503
    code = "STORE_UNAVAILABLE"


class SharedStoreUnavailable(ManagementError):
    """The store that control planes share their Bentos in does not answer now; models that run go on."""

    status = 503
    code = "SHARED_STORE_UNAVAILABLE"


class SharedArchiveDamaged(SharedStoreUnavailable):
    """The shared store did not keep an archive as it was."""

    wording = "SHARED_ARCHIVE_DAMAGED"


class StorageFull(ManagementError):
    """The disk has no room for the upload."""

    status = 507
    code = "STORAGE_FULL"
