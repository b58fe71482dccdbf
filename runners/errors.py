"""What a caller did wrong, or what went wrong for the caller, with the HTTP status and the code of each.

    RunnerError                 500 INTERNAL_ERROR
    ├── InvalidInput            400 INVALID_INPUT
    │   ├── InvalidDocument     400 INVALID_DOCUMENT
    │   ├── InvalidImage        400 INVALID_IMAGE
    │   └── InvalidURL          400 INVALID_URL
    ├── RefusedURL              403 URL_REFUSED
    ├── PayloadTooLarge         413 PAYLOAD_TOO_LARGE
    ├── UnsupportedMediaType    415 UNSUPPORTED_MEDIA_TYPE
    ├── NoText                  422 NO_TEXT
    ├── UnknownSymptoms         422 UNKNOWN_SYMPTOMS
    ├── UpstreamFailed          502 UPSTREAM_FAILED
    ├── ModelUnavailable        503 MODEL_UNAVAILABLE
    ├── ModelTimeout            504 TIMEOUT
    ├── ReadingTimeout          504 READING_TIMEOUT
    └── UpstreamTimeout         504 UPSTREAM_TIMEOUT

A message is written for the caller: it never carries the text of another library's exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class RunnerError(Exception):
    """The root: something failed that the caller cannot mend."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RunnerError):
    """The request does not say what the endpoint needs."""

    status = 400
    code = "INVALID_INPUT"


class InvalidDocument(InvalidInput):
    """The bytes are a document that is encrypted, damaged or empty."""

    code = "INVALID_DOCUMENT"


class InvalidImage(InvalidInput):
    """The bytes begin like a picture and cannot be decoded to the end."""

    code = "INVALID_IMAGE"


class InvalidURL(InvalidInput):
    """The text is no URL that could be fetched."""

    code = "INVALID_URL"


class RefusedURL(RunnerError):
    """The URL leads where this server does not go."""

    status = 403
    code = "URL_REFUSED"


class PayloadTooLarge(RunnerError):
    """More bytes or pixels than the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(RunnerError):
    """The bytes are of no kind that is read here."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class NoText(RunnerError):
    """A picture, or a document of pictures, on which no text was found."""

    status = 422
    code = "NO_TEXT"


class UnknownSymptoms(RunnerError):
    """Nothing that was written of a patient is known to the model."""

    status = 422
    code = "UNKNOWN_SYMPTOMS"


class UpstreamFailed(RunnerError):
    """The server that a URL names did not deliver."""

    status = 502
    code = "UPSTREAM_FAILED"


class ModelUnavailable(RunnerError):
    """The model's process is not there, or is not ready."""

    status = 503
    code = "MODEL_UNAVAILABLE"


class ModelTimeout(RunnerError):
    """The model is there and does not answer in time."""

    status = 504
    code = "TIMEOUT"


class ReadingTimeout(RunnerError):
    """The document takes longer to read than this server has for it."""

    status = 504
    code = "READING_TIMEOUT"


class UpstreamTimeout(RunnerError):
    """The server that a URL names was too slow."""

    status = 504
    code = "UPSTREAM_TIMEOUT"


def of_code(code: str, message: str) -> RunnerError:
    """The error with this code, as another process sent it."""
    kind = next((one for one in _kinds(RunnerError) if one.code == code), RunnerError)
    return kind(message)


def _kinds(root: type[RunnerError]) -> Iterator[type[RunnerError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)
