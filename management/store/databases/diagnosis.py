"""Why a PostgreSQL database cannot be used, in one sentence for an operator, without a password."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from management.store.databases.connections import connect, parameters
from management.store.databases.postgresql import shown

OLDEST_VERSION: Final = 13
"""The oldest major version of PostgreSQL that is supported."""
VERSIONS: Final = "alembic_version"
"""Table with the version that a database was migrated to."""
CURRENT: Final = "SELECT version_num FROM alembic_version"
UNREACHABLE: Final = {
    "Connection refused": "no server answers there",
    "No such file": "no server answers there",
    "timeout": "no server answers there in time",
    "translate host name": "the name of its host is not known",
    "resolve host": "the name of its host is not known",
    "unreachable": "no network leads there",
    "No route": "no network leads there",
    "closed the connection": "the server closes the connection",
    "read-only": "none of its hosts takes changes",
    "not accepting": "the server takes no connections now",
    "starting up": "the server is starting",
    "shutting down": "the server is ending",
    "recovery mode": "the server is recovering from a crash",
}
"""What libpq says of a server that may be there later, and what it means."""
WRONG_OPTION: Final = "a port or an option of the URL is wrong"
REFUSED: Final = {
    "password authentication failed": "the password is wrong, or there is no such user",
    "no password supplied": "the server asks for a password: in the URL, in ~/.pgpass or in PGPASSWORD",
    "does not support SSL": "the server has no TLS, which sslmode asks for",
    "certificate": "the server's certificate is not trusted: see sslmode and sslrootcert",
    **{f"invalid {option}": WRONG_OPTION for option in ("integer", "port", "sslmode", "target_session_attrs")},
}
"""What is said of a connection that is refused for good, and what it means."""


@dataclass(frozen=True)
class Obstacle:
    """Why the database cannot be used."""

    reason: str
    passes: bool = False
    """Whether it may pass by itself, as a server does that starts."""


def obstacles(url: str, known_versions: set[str]) -> Iterator[Obstacle]:
    """Yield why the database of a URL of libpq cannot be used by an Atelier that knows these versions of its tables.

    Nothing is changed.
    """
    try:
        place = shown(url)
    except psycopg.Error:  # its text quotes the URL
        yield Obstacle("it is no URL of PostgreSQL, such as postgresql://USER:PASSWORD@HOST/NAME")
        return
    if not all(port.isdigit() for port in str(parameters(url).get("port", "0")).split(",") if port):
        yield Obstacle(f"{place}: {WRONG_OPTION}")
        return
    try:
        with connect(url) as connection:
            for reason in _unfit(connection, known_versions):
                yield Obstacle(f"{place}: {reason}")
    except psycopg.Error as error:
        yield _of_error(place, error)


def _of_error(place: str, error: psycopg.Error) -> Obstacle:
    said = str(error)
    if 'database "' in said and "does not exist" in said:
        return Obstacle(f"{place}: there is no such database; create it: docs/postgresql.md")
    for words, passes in ((REFUSED, False), (UNREACHABLE, True)):
        for word, meaning in words.items():
            if word in said:
                return Obstacle(f"{place}: {meaning}", passes)
    return Obstacle(f"{place}: it refuses the connection ({said.strip().splitlines()[-1].strip()})")


def _unfit(connection: psycopg.Connection[Any], known_versions: set[str]) -> Iterator[str]:
    version = connection.info.server_version // 10_000
    if version < OLDEST_VERSION:
        yield f"the server has version {version}; PostgreSQL {OLDEST_VERSION} or newer is supported"
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        yield f"its encoding is {encoding}; create it with ENCODING 'UTF8'"
    if _asked(connection, "SELECT pg_is_in_recovery()"):
        yield "the server is a standby, which takes no changes: name the primary, or several hosts"
    elif _asked(connection, f"SELECT to_regclass('{VERSIONS}')") is None:
        if not _asked(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
            yield "its user may not create tables: make it the owner of the database"
    elif {str(row[0]) for row in connection.execute(CURRENT)} - known_versions:
        yield "it was written by a newer version of Atelier; start that one, or restore a back-up of this version"


def _asked(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]
