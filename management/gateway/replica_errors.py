"""What can go wrong between the gateway and a replica.

ReplicaError
├── ConnectionBroken        the replica may be gone: another one may be tried
│   ├── NotConnected        nothing was sent
│   └── CallInterrupted     the request was sent, and may not be repeated
├── ReplicaBusy             it sheds load
├── ReplicaLate             it stopped the request at its deadline
├── ReplicaSilent           a stream that has begun goes on no more
├── ReplicaRefused          the request itself is at fault, in the model's own words
├── HandshakeRefused        the model opens no websocket there
└── ReplicaFailed           the model failed, or its answer cannot be read
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from management.faults import exhaustion


class ReplicaError(Exception):
    """The root: the replica gave no results."""


class ConnectionBroken(ReplicaError):
    """The connection failed, or broke before the answer's end."""


class NotConnected(ConnectionBroken):
    """Nothing was sent: trying another replica repeats nothing."""


class CallInterrupted(ConnectionBroken):
    """The connection broke after the request was sent, and the request may not be repeated."""


class ReplicaSilent(ReplicaError):
    """A stream that has begun was silent for too long."""


class ReplicaBusy(ReplicaError):
    """The replica answered 429 or 503."""


class ReplicaLate(ReplicaError):
    """The replica answered 504."""


class ReplicaRefused(ReplicaError):
    """The replica answered another 4xx, with the model's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class HandshakeRefused(ReplicaError):
    """The replica refused to open a websocket, with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class ReplicaFailed(ReplicaError):
    """The replica answered another 5xx, or anything but results of the contract."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of an HTTP client as those of this module."""
    try:
        yield
    except aiohttp.WSServerHandshakeError as error:
        raise HandshakeRefused(error.status) from error
    except aiohttp.ClientResponseError as error:
        raise ReplicaFailed("the answer is not HTTP") from error
    except aiohttp.ClientConnectorError as error:
        if exhaustion.in_connecting(error):
            raise ReplicaBusy(503) from error  # this process has run out of something, so no other replica is tried
        raise NotConnected(type(error).__name__) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionBroken(type(error).__name__) from error
