"""The database, and the only access to it: transactions that count their changes.

A writer holds the database alone from its first statement on, so what it reads stays true until it commits. Code that
keeps a copy in memory compares ``changes`` and reads again when the number has grown.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, create_engine, event, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from management.errors import StoreUnavailable
from management.faults.disk import is_full
from management.store import tables
from management.store.deployments import DeploymentRepository
from management.store.events import EventRepository
from management.store.idempotency_keys import IdempotencyKeyRepository
from management.store.keys import KeyRepository
from management.store.leases import LeaseRepository
from management.store.load_reports import LoadReportRepository
from management.store.replicas import ReplicaRepository

BUSY_SECONDS: Final = 5
"""Seconds that a writer waits for another process's writer."""
QUEUE_SECONDS: Final = 5
"""Seconds that a writer waits for earlier writers of this process."""
BUSY_PAUSE_SECONDS: Final = 0.02
"""Seconds between two attempts to change a new database's journal mode."""
EVERYTHING: Final = "everything"
"""Name of the only counter of changes."""
MAX_READERS: Final = 7
"""Transactions that read at the same time; further ones wait. There is one writer, which delays no reader."""
WRITER_LOCK: Final = 0x61746C
"""Number of the advisory lock that PostgreSQL's writers take."""

T = TypeVar("T")


@dataclass
class Session:
    """One transaction, with a repository for each table."""

    connection: Connection
    deployments: DeploymentRepository = field(init=False)
    replicas: ReplicaRepository = field(init=False)
    events: EventRepository = field(init=False)
    keys: KeyRepository = field(init=False)
    idempotency_keys: IdempotencyKeyRepository = field(init=False)
    leases: LeaseRepository = field(init=False)
    load_reports: LoadReportRepository = field(init=False)

    def __post_init__(self) -> None:
        self.deployments = DeploymentRepository(self.connection)
        self.replicas = ReplicaRepository(self.connection)
        self.events = EventRepository(self.connection)
        self.keys = KeyRepository(self.connection)
        self.idempotency_keys = IdempotencyKeyRepository(self.connection)
        self.leases = LeaseRepository(self.connection)
        self.load_reports = LoadReportRepository(self.connection)

    def changes(self) -> int:
        """Return the number of counted transactions so far; it grows whenever a copy in memory becomes outdated."""
        row = self.connection.execute(select(tables.changes.c.count).where(tables.changes.c.name == EVERYTHING))
        return int(row.scalar_one())


class Store:
    """The database behind an SQLAlchemy URL. Every method raises StoreUnavailable when it cannot be used."""

    def __init__(self, url: str) -> None:
        self.url = url
        sqlite = make_url(url).get_backend_name() == "sqlite"
        self._database = make_url(url).database if sqlite else None
        with suppress(StoreUnavailable), translated():  # on a full disk the file is created later
            _make_private(self._database)
        self._engine = create_engine(
            url, connect_args={"timeout": BUSY_SECONDS} if sqlite else {}, pool_pre_ping=not sqlite
        )
        self._readers = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="store-reader")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        if sqlite:
            _speak_sqlite(self._engine)
        else:
            _speak_postgresql(self._engine)

    def migrate(self) -> None:
        """Migrate the tables to this version and keep their rows. One process at a time does it."""
        from management.store.migrate import upgrade

        with translated():
            _make_private(self._database)
            upgrade(self._engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads, and sees one moment."""
        with translated(), self._engine.connect() as connection:
            yield Session(connection)

    @contextmanager
    def writing(self, *, counted: bool = True) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, and rolled back when the block raises.

        ``counted`` transactions tell other workers to read their copies again.
        """
        with translated(), self._engine.connect().execution_options(writing=True) as connection, connection.begin():
            yield Session(connection)
            if counted:
                counter = tables.changes.c
                connection.execute(
                    update(tables.changes).where(counter.name == EVERYTHING).values(count=counter.count + 1)
                )

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a reading transaction in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(self._read, work))

    async def write(self, work: Callable[[Session], T], *, counted: bool = True) -> T:
        """Run ``work`` in a writing transaction in a thread.

        Raises StoreUnavailable when it cannot begin within ``QUEUE_SECONDS``.
        """
        task = self._writer.submit(partial(self._write, work, counted=counted))
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

    def close(self) -> None:
        """Close the connections."""
        for threads in (self._readers, self._writer):
            threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def _read(self, work: Callable[[Session], T]) -> T:
        with self.reading() as session:
            return work(session)

    def _write(self, work: Callable[[Session], T], *, counted: bool) -> T:
        with self.writing(counted=counted) as session:
            return work(session)


def _retrieve_exception(outcome: asyncio.Future[Any]) -> None:
    """Retrieve the exception so that asyncio does not report it as never retrieved when the caller has left."""
    if not outcome.cancelled():
        outcome.exception()


@contextmanager
def translated() -> Iterator[None]:
    """Translate the database's errors to StoreUnavailable; a violated constraint is a bug and stays as it is."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:  # including a timeout of the connection pool
        raise StoreUnavailable(retry_after=1) from error
    except OSError as error:
        if is_full(error):
            raise StoreUnavailable(retry_after=1) from error
        raise


def _make_private(database: str | None) -> None:
    """Create the file with mode 0600 before SQLite does: it holds digests of keys and models' environments."""
    if database:
        file = Path(database)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600, exist_ok=True)


def _speak_sqlite(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin explicitly below, not when the driver decides
        _write_ahead(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.execute(text("BEGIN IMMEDIATE" if writing else "BEGIN"))


def _write_ahead(connection: Any) -> None:
    """Set the journal mode, and try again while it is refused.

    When several processes open a new database at once, SQLite refuses this change to some of them without waiting.
    It does not refuse it for a database that is in this mode already.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)
        else:
            return


def _speak_postgresql(engine: Any) -> None:
    """Give PostgreSQL the behaviour of SQLite: one writer at a time, and readers that see one moment."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writing"):
            connection.execute(text(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})"))
        else:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
