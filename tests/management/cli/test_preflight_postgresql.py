"""What is wrong with a PostgreSQL database is said in one sentence, and a server that may come is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from management.preflight import obstacles
from management.store import Store
from management.store.databases import diagnosis
from tests.doubles.management import settings_of
from tests.support.postgresql.databases import empty_database
from tests.support.postgresql.server import PASSWORD, PostgresqlServer
from tests.support.servers import free_port

pytestmark = [pytest.mark.server, pytest.mark.postgresql]


def of(home: Path, url: str, *, lasting: bool = False) -> str:
    """The only obstacle of a server on that database; empty where there is none."""
    found = obstacles(settings_of(home=home, database_url=url), lasting=lasting)
    assert len(found) <= 1
    assert PASSWORD not in "".join(found)
    assert "geheim" not in "".join(found)
    assert "\n" not in "".join(found)
    return "".join(found)


@contextmanager
def role(server: PostgresqlServer, name: str) -> Iterator[str]:
    """A user that owns nothing."""
    server.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'geheim'")
    yield f"postgresql://{name}:geheim@127.0.0.1:{server.port}"
    server.sql(f"DROP ROLE {name}")


def test_a_database_that_is_empty_or_of_this_version_is_no_obstacle(
    postgresql: PostgresqlServer, postgresql_url: str, tmp_path: Path
) -> None:
    assert of(tmp_path, postgresql_url) == ""
    with empty_database(postgresql) as url:
        assert of(tmp_path, url) == ""


def test_a_server_that_is_not_there_is_said_by_check_and_waited_for_by_serve(tmp_path: Path) -> None:
    for url, meaning in (
        (f"postgresql://u:geheim@127.0.0.1:{free_port()}/d", "no server answers there"),
        ("postgresql://u:geheim@nowhere.invalid/d", "the name of its host is not known"),
        (f"postgresql:///d?user=u&password=geheim&host={tmp_path}", "no server answers there"),
    ):
        assert of(tmp_path, url).endswith(f": {meaning}")
        assert of(tmp_path, url, lasting=True) == ""


@pytest.mark.parametrize("lasting", [False, True])
def test_what_a_server_refuses_is_said(
    postgresql: PostgresqlServer, postgresql_url: str, tmp_path: Path, lasting: bool
) -> None:
    place = f"PostgreSQL at 127.0.0.1:{postgresql.port}, database"
    for url, meaning in (
        (postgresql.url(password="geheim"), f"{place} postgres: the password is wrong, or there is no such user"),
        (postgresql.url("nothing"), f"{place} nothing: there is no such database"),
        (f"{postgresql.url()}?sslmode=require", f"{place} postgres: the server has no TLS"),
    ):
        assert f"ATELIER_DATABASE_URL: {meaning}" in of(tmp_path, url, lasting=lasting)


def test_a_user_who_may_not_make_the_tables_is_told_so(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    with empty_database(postgresql) as url, role(postgresql, "guest") as guest:
        assert "may not create tables" in of(tmp_path, f"{guest}/{url.rpartition('/')[2]}")


def test_versions_that_do_not_fit_are_named(
    postgresql: PostgresqlServer, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(postgresql_url)) as store, store.writing(counted=False) as session:
        session.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "written by a newer version of Atelier" in of(tmp_path, postgresql_url)
    monkeypatch.setattr(diagnosis, "OLDEST_VERSION", 99)
    assert "PostgreSQL 99 or newer is supported" in of(tmp_path, postgresql.url())


def test_an_encoding_that_cannot_hold_every_text_is_named(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    postgresql.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    assert "encoding is LATIN1" in of(tmp_path, postgresql.url("latin"))
    postgresql.sql("DROP DATABASE latin")
