"""PostgreSQL through psycopg: one database for several servers, which need not be on one machine."""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, ExceptionContext, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from management.domain.clock import Clock
from management.store.databases.connections import connect, parameters
from management.store.databases.database import Database, Transaction

POOL_CONNECTIONS: Final = 8
"""Connections of one process: for each transaction that reads at a time, and for the one that writes."""
WRITER_LOCK: Final = 0x61746C
"""Number of the advisory lock that writers take."""
LOST: Final = frozenset({"25006", "57P01", "57P02", "57P03", "25P03"})
"""Errors after which a connection is of no use: its server takes no changes, ends, starts, or has ended the session."""


class StandbyReached(SQLAlchemyError):
    """The server is a standby, which must not be read: it may be behind."""


class DatabaseClock(Clock):
    """The database's clock, as its last transaction told it: the same for all servers, however their clocks differ."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    @override
    def unix(self) -> float:
        return time.time() if self._ahead is None else time.monotonic() + self._ahead

    @override
    def ahead(self) -> float:
        return self.unix() - time.time()

    def learn(self, unix: float) -> None:
        """Take the database's time of this moment."""
        self._ahead = unix - time.monotonic()


class PostgresqlDatabase(Database):
    """The database of a URL of libpq."""

    def __init__(self, url: str, busy_seconds: float) -> None:
        self._url, self._busy_seconds = url, busy_seconds
        self.clock: DatabaseClock = DatabaseClock()
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(url),
            pool_size=POOL_CONNECTIONS,
            max_overflow=0,
            pool_timeout=busy_seconds,
            use_native_hstore=False,
        )
        event.listen(self.engine, "handle_error", _drop_lost_connections)

    @property
    @override
    def place(self) -> str:
        return shown(self._url)

    @override
    def enter(self, connection: Connection, transaction: Transaction) -> None:
        seconds = transaction.seconds or self._busy_seconds
        _driver(connection).seconds = seconds
        beginning = _beginning(writing=transaction.writing, seconds=seconds, busy_seconds=self._busy_seconds)
        connection.exec_driver_sql(beginning, execution_options={"no_parameters": True})
        row = connection.execute(text("SELECT extract(epoch FROM clock_timestamp()), pg_is_in_recovery()")).one()
        if row[1]:  # a standby that a fail-over left behind, and that knows an earlier moment
            self.engine.dispose()
            connection.invalidate()
            raise StandbyReached
        self.clock.learn(float(row[0]))


def shown(url: str) -> str:
    """Return hosts, ports and the name of the database: all of a URL that helps an operator, and no password."""
    given = parameters(url)
    hosts = str(given.get("host") or given.get("hostaddr") or "the local socket").split(",")
    ports = str(given.get("port") or "").split(",")
    places = [
        host if not (port := ports[min(number, len(ports) - 1)]) else f"{host}:{port}"
        for number, host in enumerate(hosts)
    ]
    return f"PostgreSQL at {', '.join(places)}, database {given.get('dbname') or given.get('user') or 'by default'}"


def _beginning(*, writing: bool, seconds: float, busy_seconds: float) -> str:
    """Return the statements that begin a transaction.

    Its limits are local to it, because a pooler may give the session to another client afterwards. The last one frees
    the writers' lock where this process stops in the middle.
    """
    level = "READ COMMITTED" if writing else "REPEATABLE READ, READ ONLY"
    limits = {
        "statement_timeout": int(seconds * 1000),
        "lock_timeout": int(busy_seconds * 1000),
        "idle_in_transaction_session_timeout": int(seconds * 1000),
    }
    parts = [f"BEGIN ISOLATION LEVEL {level}", *(f"SET LOCAL {name} = {value}" for name, value in limits.items())]
    if writing:
        parts.append(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")
    return "; ".join(parts)


def _drop_lost_connections(context: ExceptionContext) -> None:
    if isinstance(context.original_exception, psycopg.Error) and context.original_exception.sqlstate in LOST:
        context.is_disconnect = True


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
