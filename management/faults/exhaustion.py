"""Attribution of errors: a lack of descriptors, memory or threads in this process says nothing about a replica."""

from __future__ import annotations

import errno
from typing import Final

PEER_ERRORS: Final = frozenset(
    {
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENOTCONN, errno.ETIMEDOUT),
        *(errno.ENOENT, errno.ENOTDIR, errno.ENOTSOCK, errno.EPROTOTYPE),
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH),
        errno.EAGAIN,  # the peer's queue of connections is full
    }
)
"""Error numbers of a failed connection that mean that the peer is gone, or has changed."""
SCARCITY_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
"""Error numbers that mean a temporary lack of descriptors, memory or processes."""


def in_connecting(error: BaseException) -> bool:
    """Return whether this process caused the failure to connect; an error without a number is the peer's."""
    number = getattr(error, "errno", None)
    return isinstance(error, OSError) and number is not None and number not in PEER_ERRORS


def of_scarcity(error: BaseException) -> bool:
    """Return whether the error is a temporary lack of resources: the caller tries again and concludes nothing."""
    if isinstance(error, OSError):
        return error.errno in SCARCITY_ERRORS
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "thread" in str(error))
