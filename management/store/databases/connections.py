"""Connections to PostgreSQL that give up by themselves where a server is silent, or a network loses what is sent."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.abc import PQGen
from psycopg.types.string import StrDumper
from typing_extensions import override

T = TypeVar("T")

MARGIN_SECONDS: Final = 1.0
"""Seconds after a statement's own time at which a server that does not answer is given up."""
DEFAULTS: Final[dict[str, str]] = {
    "fallback_application_name": "atelier",
    "connect_timeout": "3",
    # A network that swallows packets ends a connection within about as many seconds as a statement may take.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""Options of libpq that hold where the URL does not say otherwise."""
READ_WRITE: Final = {"target_session_attrs": "read-write"}
"""Of several hosts in a URL, the one that takes changes is used: the others are its standbys."""


class ServerSilent(psycopg.OperationalError, TimeoutError):
    """The server has not answered a statement in time; what became of it is unknown."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes itself where the server does not answer a statement in time."""

    seconds: float = 5.0
    """Seconds that the server has for a statement; it should give up by itself before."""

    @override
    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, self.seconds + MARGIN_SECONDS if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise ServerSilent("the server does not answer") from None


class WritableText(StrDumper):
    """Writes a text as PostgreSQL can keep it, which has neither NUL nor halves of surrogate pairs.

    A replica's log may hold any character. What cannot be kept becomes U+FFFD.
    """

    @override
    def dump(self, obj: str) -> bytes | bytearray | memoryview[int] | None:
        if obj.isascii() and "\0" not in obj:
            return super().dump(obj)
        return super().dump(obj.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def parameters(url: str) -> dict[str, Any]:
    """Return the parameters of a connection. Raises psycopg.ProgrammingError for what is no URL of libpq."""
    given = conninfo.conninfo_to_dict(url)
    hosts = str(given.get("host", given.get("hostaddr", "")))
    return {**DEFAULTS, **(READ_WRITE if "," in hosts else {}), **given}


def connect(url: str) -> BoundedConnection:
    """Return a new connection, on which transactions begin explicitly. Raises psycopg.Error."""
    # Statements are not prepared: a pooler such as PgBouncer gives the next transaction to another server process.
    made = BoundedConnection.connect(autocommit=True, prepare_threshold=None, **parameters(url))
    made.adapters.register_dumper(str, WritableText)
    return made
