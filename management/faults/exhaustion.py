"""Whose fault an error is: what fails here for want of descriptors, memory or threads says nothing of others."""

from __future__ import annotations

import errno
from typing import Final

THEIRS: Final = frozenset(
    {
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENOTCONN, errno.ETIMEDOUT),
        *(errno.ENOENT, errno.ENOTDIR, errno.ENOTSOCK, errno.EPROTOTYPE),
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH),
        errno.EAGAIN,  # its queue of connections is full
    }
)
"""What a connection fails with where it is the other side that is gone, or not what it was."""
SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
"""What the system refuses this process for want of descriptors, memory or processes, for now."""


def in_connecting(error: BaseException) -> bool:
    """Whether it is this process that could not connect; an error without a number is the other side's."""
    number = getattr(error, "errno", None)
    return isinstance(error, OSError) and number is not None and number not in THEIRS


def of_scarcity(error: BaseException) -> bool:
    """Whether something can be had again later: it is tried again, and nothing is concluded."""
    if isinstance(error, OSError):
        return error.errno in SCARCE
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "thread" in str(error))
