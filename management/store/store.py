"""The database, and the only access to it: transactions that count their changes.

A writer holds the database alone from its first statement on, so what it reads stays true until it commits. Code that
keeps a copy in memory compares ``changes`` and reads again when the number has grown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from management.domain.clock import SYSTEM, Clock
from management.errors import StoreUnavailable
from management.faults.disk import is_full
from management.store import tables
from management.store.databases import BUSY_SECONDS, Transaction, of_url
from management.store.deployments import DeploymentRepository
from management.store.events import EventRepository
from management.store.idempotency_keys import IdempotencyKeyRepository
from management.store.keys import KeyRepository
from management.store.leases import LeaseRepository
from management.store.load_reports import LoadReportRepository
from management.store.replicas import ReplicaRepository
from management.store.secrets import IdentityRepository, SecretRepository

QUEUE_SECONDS: Final = 5
"""Seconds that a transaction waits for earlier ones of this process."""
MIGRATION_SECONDS: Final = 600
"""Seconds that a statement of a migration may take."""
EVERYTHING: Final = "everything"
"""Name of the only counter of changes."""
MAX_READERS: Final = 7
"""Transactions that read at the same time; further ones wait. There is one writer, which delays no reader."""

T = TypeVar("T")


@dataclass
class Session:
    """One transaction, with a repository for each table."""

    connection: Connection
    clock: Clock = SYSTEM
    """The clock that all servers on the database share; on PostgreSQL it was read when the transaction began."""
    deployments: DeploymentRepository = field(init=False)
    replicas: ReplicaRepository = field(init=False)
    events: EventRepository = field(init=False)
    keys: KeyRepository = field(init=False)
    idempotency_keys: IdempotencyKeyRepository = field(init=False)
    leases: LeaseRepository = field(init=False)
    load_reports: LoadReportRepository = field(init=False)
    secrets: SecretRepository = field(init=False)
    identities: IdentityRepository = field(init=False)

    def __post_init__(self) -> None:
        self.deployments = DeploymentRepository(self.connection)
        self.replicas = ReplicaRepository(self.connection)
        self.events = EventRepository(self.connection)
        self.keys = KeyRepository(self.connection)
        self.idempotency_keys = IdempotencyKeyRepository(self.connection)
        self.leases = LeaseRepository(self.connection)
        self.load_reports = LoadReportRepository(self.connection)
        self.secrets = SecretRepository(self.connection)
        self.identities = IdentityRepository(self.connection)

    def changes(self) -> int:
        """Return the number of counted transactions so far; it grows whenever a copy in memory becomes outdated."""
        row = self.connection.execute(select(tables.changes.c.count).where(tables.changes.c.name == EVERYTHING))
        return int(row.scalar_one())


class Store:
    """The database behind an SQLAlchemy URL. Every method raises StoreUnavailable when it cannot be used."""

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        """``busy_seconds``: how long a writer waits for another process's writer."""
        self.url = url
        self._database = of_url(url, busy_seconds)
        self._readers = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="store-reader")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")

    @property
    def clock(self) -> Clock:
        """The clock that all servers on this database share: its own, or the machine's where it is a file."""
        return self._database.clock

    @property
    def place(self) -> str:
        """Where the database is, for an operator's eyes."""
        return self._database.place

    def migrate(self) -> None:
        """Migrate the tables to this version and keep their rows. One process at a time does it."""
        from management.store.migrate import upgrade

        with translated():
            self._database.prepare()
            with closing(self._database.begin(Transaction(writing=True, seconds=MIGRATION_SECONDS))) as connection:
                upgrade(connection)
                connection.commit()

    @contextmanager
    def reading(self, *, seconds: float | None = None) -> Iterator[Session]:
        """Open a transaction that only reads, and sees one moment; each of its statements may take so many seconds."""
        with translated(), closing(self._database.begin(Transaction(seconds=seconds))) as connection:
            yield Session(connection, self.clock)

    @contextmanager
    def writing(self, *, counted: bool = True, seconds: float | None = None) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, and rolled back when the block raises.

        ``counted`` transactions tell other workers to read their copies again. StoreUnavailable at the end may also
        mean that the connection was lost while it was committed: whether it was is then unknown.
        """
        with translated(), closing(self._database.begin(Transaction(writing=True, seconds=seconds))) as connection:
            yield Session(connection, self.clock)
            if counted:
                counter = tables.changes.c
                connection.execute(
                    update(tables.changes).where(counter.name == EVERYTHING).values(count=counter.count + 1)
                )
            connection.commit()

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a reading transaction in a thread.

        Raises StoreUnavailable when it cannot begin within ``QUEUE_SECONDS``.
        """
        return await _outcome(self._readers.submit(self._read, work))

    async def write(self, work: Callable[[Session], T], *, counted: bool = True) -> T:
        """Run ``work`` in a writing transaction in a thread.

        Raises StoreUnavailable when it cannot begin within ``QUEUE_SECONDS``.
        """
        return await _outcome(self._writer.submit(partial(self._write, work, counted=counted)))

    def close(self) -> None:
        """Close the connections."""
        for threads in (self._readers, self._writer):
            threads.shutdown(wait=False, cancel_futures=True)
        self._database.engine.dispose()

    def _read(self, work: Callable[[Session], T]) -> T:
        with self.reading() as session:
            return work(session)

    def _write(self, work: Callable[[Session], T], *, counted: bool) -> T:
        with self.writing(counted=counted) as session:
            return work(session)


async def _outcome(task: Future[T]) -> T:
    outcome = asyncio.wrap_future(task)
    outcome.add_done_callback(_retrieve_exception)
    try:
        await asyncio.wait({outcome}, timeout=QUEUE_SECONDS)
    except asyncio.CancelledError:
        task.cancel()  # it runs on if it has begun
        raise
    if task.cancel():
        raise StoreUnavailable(retry_after=QUEUE_SECONDS)
    return await outcome


def _retrieve_exception(outcome: asyncio.Future[Any]) -> None:
    """Retrieve the exception so that asyncio does not report it as never retrieved when the caller has left."""
    if not outcome.cancelled():
        outcome.exception()


@contextmanager
def translated() -> Iterator[None]:
    """Translate the database's errors to StoreUnavailable.

    A violated constraint, and a value that a column cannot hold, are bugs and stay as they are.
    """
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except SQLAlchemyError as error:  # including a timeout of the connection pool
        raise StoreUnavailable(retry_after=1) from error
    except OSError as error:
        if is_full(error):
            raise StoreUnavailable(retry_after=1) from error
        raise
