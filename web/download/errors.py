"""Why a URL did not become bytes.

    DownloadError
    ├── InvalidURL          400 INVALID_URL
    ├── RefusedURL          403 URL_REFUSED
    ├── FileTooLarge        413 PAYLOAD_TOO_LARGE
    ├── UpstreamFailed      502 UPSTREAM_FAILED
    └── UpstreamTimeout     504 UPSTREAM_TIMEOUT

A message is written for the client: it never contains the text of another library's exception.
"""

from __future__ import annotations

from typing import ClassVar


class DownloadError(Exception):
    """Base class: nothing was downloaded."""

    code: ClassVar[str] = "UPSTREAM_FAILED"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidURL(DownloadError):
    """The text is not a URL that can be fetched."""

    code = "INVALID_URL"


class RefusedURL(DownloadError):
    """The URL leads to a host, port or address that this server does not connect to."""

    code = "URL_REFUSED"


class FileTooLarge(DownloadError):
    """The body behind the URL has more bytes than the limit."""

    code = "PAYLOAD_TOO_LARGE"


class UpstreamFailed(DownloadError):
    """The server behind the URL did not return the resource."""


class UpstreamTimeout(DownloadError):
    """The server behind the URL was too slow."""

    code = "UPSTREAM_TIMEOUT"
