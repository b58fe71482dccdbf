"""What the store asks of a database, of whatever kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from management.domain.clock import SYSTEM, Clock

BUSY_SECONDS: Final = 5
"""Seconds that a writer waits for another process's writer."""


@dataclass(frozen=True)
class Transaction:
    """What a transaction is for."""

    writing: bool = False
    seconds: float | None = None
    """Seconds that each of its statements may take, where the database can end it. Default: those that a writer waits
    for another one."""


class Database(ABC):
    """One database. A writing transaction holds it alone from its beginning on; a reading one sees one moment."""

    engine: Engine
    clock: Clock = SYSTEM
    """The clock that all servers on this database share."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the database is, for an operator's eyes; it holds no password."""

    def prepare(self) -> None:  # noqa: B027 - optional for subclasses
        """Make ready what must exist before the first connection. Raises OSError."""

    @abstractmethod
    def enter(self, connection: Connection, transaction: Transaction) -> None:
        """Begin the transaction on a new connection of the engine."""

    def begin(self, transaction: Transaction) -> Connection:
        """Return a connection on which the transaction has begun; closing it rolls back what is not committed.

        A pooled connection may have been lost since its last use. Nothing has begun then, so it is replaced once. A
        server that keeps its connections and is silent would be as silent again.
        """
        try:
            return self._begun(transaction)
        except DBAPIError as error:
            if not error.connection_invalidated or isinstance(error.orig, TimeoutError):
                raise
        return self._begun(transaction)

    def _begun(self, transaction: Transaction) -> Connection:
        connection = self.engine.connect()
        try:
            connection.begin()
            self.enter(connection, transaction)
        except BaseException:
            connection.close()
            raise
        return connection
