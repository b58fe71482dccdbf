"""The database itself: its tables, its migrations, who may read its file, and what happens when it cannot be used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from management.errors import StoreUnavailable
from management.store import Store, tables
from management.store.migrate import upgrade
from tests.doubles.management import deployment
from tests.support.postgresql.databases import KINDS, empty_database


def opened(file: Path) -> Store:
    return Store(f"sqlite:///{file}")


def migrated(file: Path) -> Store:
    made = opened(file)
    made.migrate()
    return made


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'db'}"
        return
    with empty_database(request.getfixturevalue("postgresql")) as made:
        yield made


@contextmanager
def ready(url: str) -> Iterator[Store]:
    """A store with the tables of this version."""
    with closing(Store(url)) as store:
        store.migrate()
        yield store


def test_the_migrations_make_exactly_the_tables(url: str) -> None:
    with ready(url) as store, store.reading() as session:
        context = MigrationContext.configure(session.connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_migrating_again_keeps_what_is_there(url: str) -> None:
    with ready(url) as store:
        with store.writing() as session:
            session.deployments.add(deployment())
        store.migrate()
    with ready(url) as again, again.reading() as session:
        assert [deployment.model_id for deployment in session.deployments.all()] == ["echo"]
        assert session.changes() == 1


EARLY_KEY = """INSERT INTO keys (id, name, role, digest, created_at)
VALUES ('k', 'n', 'admin', '', '2026-01-01 00:00:00.000000')"""


@pytest.mark.parametrize("version", ["0001", "0002", "0003", "0004", "0005"])
def test_each_earlier_version_is_migrated_with_its_rows(url: str, version: str) -> None:
    with closing(Store(url)) as store:
        with store.writing(counted=False) as session:
            upgrade(session.connection, version)
            session.connection.execute(text(EARLY_KEY))
            session.connection.execute(text("UPDATE changes SET count = 7"))
        store.migrate()
        with store.reading() as session:
            context = MigrationContext.configure(session.connection, opts={"compare_type": True})
            assert compare_metadata(context, tables.metadata) == []
            assert [(key.id, key.description) for key in session.keys.all()] == [("k", "")]
            assert session.changes() == 7


def test_several_workers_may_migrate_at_once(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
    failed: list[Exception] = []
    begin = threading.Barrier(len(stores))

    def work(store: Store) -> None:
        begin.wait()
        try:
            store.migrate()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with stores[0].reading() as session:
        assert session.changes() == 0
    for store in stores:
        store.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    store = migrated(tmp_path / "home" / "db")
    with store.writing() as session:
        session.deployments.add(deployment())
        files = list((tmp_path / "home").iterdir())
        assert len(files) == 3, "the write-ahead log is one of them"
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    store.close()


def test_what_is_written_survives_the_loss_of_power(tmp_path: Path) -> None:
    store = migrated(tmp_path / "db")
    with store.reading() as session:
        told = [session.connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    assert told == ["wal", 2]
    store.close()


def test_a_writer_holds_the_database_alone_and_readers_see_one_moment(url: str) -> None:
    with ready(url) as store:
        with store.reading() as reader:
            assert reader.deployments.all() == []
            with store.writing() as writer:
                writer.deployments.add(deployment())
            assert reader.deployments.all() == []
        with store.reading() as reader:
            assert len(reader.deployments.all()) == 1


def test_what_a_writer_reads_stays_true_until_it_commits(url: str) -> None:
    """Four writers add up what each of them has read: none of the sums is lost."""
    with ready(url) as store:
        others = [Store(url) for _ in range(3)]

        def count(own: Store) -> None:
            for _ in range(10):
                with own.writing(counted=False) as session:
                    seen = session.changes()
                    session.connection.execute(tables.changes.update().values(count=seen + 1))

        threads = [threading.Thread(target=count, args=(own,)) for own in (store, *others)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.reading() as session:
            assert session.changes() == 40
        for other in others:
            other.close()


def test_a_reader_changes_nothing_on_a_server(postgresql_url: str) -> None:
    with ready(postgresql_url) as store, pytest.raises(StoreUnavailable), store.reading() as session:
        session.deployments.add(deployment())


def test_a_full_disk_makes_it_unavailable_and_what_was_there_stays(tmp_path: Path) -> None:
    store = migrated(tmp_path / "db")
    with store.writing() as session:
        session.deployments.add(deployment())
        session.connection.execute(text("PRAGMA max_page_count = 1"))  # no page more than it has
    with pytest.raises(StoreUnavailable) as caught, store.writing() as session:
        session.deployments.add(deployment("large", reason="x" * 2**20))
    assert caught.value.retry_after == 1
    with store.reading() as session:
        assert [deployment.model_id for deployment in session.deployments.all()] == ["echo"]
    store.close()


def test_a_database_that_only_lets_read_is_unavailable_for_writing(tmp_path: Path) -> None:
    migrated(tmp_path / "db").close()
    store = opened(tmp_path / "db")
    with store.reading() as session:
        session.connection.execute(text("PRAGMA query_only = ON"))
    with pytest.raises(StoreUnavailable), store.writing() as session:
        session.deployments.add(deployment())
    with store.reading() as session:
        assert session.deployments.all() == []
    store.close()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database at all" * 100)
    store = opened(tmp_path / "db")
    with pytest.raises(StoreUnavailable):
        store.migrate()
    with pytest.raises(StoreUnavailable), store.reading() as session:
        session.deployments.all()
    store.close()


def test_a_database_without_tables_is_unavailable(url: str) -> None:
    with closing(Store(url)) as store, pytest.raises(StoreUnavailable), store.reading() as session:
        session.deployments.all()
