"""The errors of clients and of the server, with HTTP status and code.

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

A message is written for the client: it never contains the text of another library's exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class RunnerError(Exception):
    """Base class: a failure that the client cannot fix."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RunnerError):
    """The request does not match what the endpoint requires."""

    status = 400
    code = "INVALID_INPUT"


class InvalidDocument(InvalidInput):
    """The bytes are a document that is encrypted, damaged or empty."""

    code = "INVALID_DOCUMENT"


class InvalidImage(InvalidInput):
    """The bytes begin like an image, but cannot be decoded to the end."""

    code = "INVALID_IMAGE"


class InvalidURL(InvalidInput):
    """The text is not a URL that can be fetched."""

    code = "INVALID_URL"


class RefusedURL(RunnerError):
    """The URL leads to a host, port or address that this server does not connect to."""

    status = 403
    code = "URL_REFUSED"


class PayloadTooLarge(RunnerError):
    """The input has more bytes, pixels or characters than the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(RunnerError):
    """The bytes are of a format that is not supported."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class NoText(RunnerError):
    """A picture, or a document of pictures, contains no text."""

    status = 422
    code = "NO_TEXT"


class UnknownSymptoms(RunnerError):
    """The model knows none of the patient's symptoms."""

    status = 422
    code = "UNKNOWN_SYMPTOMS"


class UpstreamFailed(RunnerError):
    """The server behind a URL did not return the resource."""

    status = 502
    code = "UPSTREAM_FAILED"


class ModelUnavailable(RunnerError):
    """The model's process is not running or not ready."""

    status = 503
    code = "MODEL_UNAVAILABLE"


class ModelTimeout(RunnerError):
    """The model is running, but did not answer in time."""

    status = 504
    code = "TIMEOUT"


class ReadingTimeout(RunnerError):
    """The document takes longer to read than the time limit."""

    status = 504
    code = "READING_TIMEOUT"


class UpstreamTimeout(RunnerError):
    """The server behind a URL was too slow."""

    status = 504
    code = "UPSTREAM_TIMEOUT"


def of_code(code: str, message: str) -> RunnerError:
    """Return the error with this code, which another process sent; RunnerError for an unknown code."""
    kind = next((kind for kind in _kinds(RunnerError) if kind.code == code), RunnerError)
    return kind(message)


def _kinds(root: type[RunnerError]) -> Iterator[type[RunnerError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)
