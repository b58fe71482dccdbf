"""Databases of both kinds for the tests of what every database keeps: fresh ones, with this version's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Final

import pytest

from management.store import Store
from tests.support.postgresql.server import PostgresqlServer

KINDS: Final = ("sqlite", pytest.param("postgresql", marks=[pytest.mark.server, pytest.mark.postgresql]))
"""Parameters of a fixture that a test runs with once on each kind of database."""
TEMPLATE: Final = "migrated"
_numbers: Final = count()


@contextmanager
def empty_database(server: PostgresqlServer, template: str = "template0") -> Iterator[str]:
    """Give the URL of a new database without tables, or with those of the template; it is dropped afterwards."""
    name = f"d{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.url(name)
    finally:
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def migrated_database(server: PostgresqlServer) -> Iterator[str]:
    """Give the URL of a new database with this version's tables; it is dropped afterwards."""
    if not server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
        server.sql(f"CREATE DATABASE {TEMPLATE}")
        with closing(Store(server.url(TEMPLATE))) as store:
            store.migrate()
    with empty_database(server, TEMPLATE) as url:
        yield url
