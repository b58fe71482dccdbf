"""Databases of both kinds in one archive format, restored into either, and moved from one to the other."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from management.backup import swap
from management.backup.archive import DATABASE, KEY, write
from management.backup.errors import BackupError
from management.backup.moving import move
from management.backup.restore import restore
from management.cli.main import main
from management.configuration import settings
from management.domain import keys
from management.domain.keys import Role
from management.domain.records import Deletion, Event, LoadReport, ReplicaState
from management.domain.secrets import Secret
from management.settings import StorageSettings
from management.store import Store, copies, tables
from tests.doubles.management import AT, deployment, replica, revision
from tests.support.postgresql.databases import empty_database
from tests.support.postgresql.server import PASSWORD, PostgresqlServer

pytestmark = [pytest.mark.server, pytest.mark.postgresql]

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def server_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """A database without tables."""
    with empty_database(postgresql) as url:
        yield url


@pytest.fixture
def on_server(target: StorageSettings, server_url: str) -> StorageSettings:
    return target.model_copy(update={"database_url": server_url})


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows are several batches."""
    monkeypatch.setattr(copies, "BATCH_ROWS", 5)


def on_file(target: StorageSettings, file: Path) -> StorageSettings:
    return target.model_copy(update={"database_url": f"sqlite:///{file}"})


@contextmanager
def opened(url: str) -> Iterator[Store]:
    with closing(Store(url)) as store:
        store.migrate()
        yield store


def fill(url: str) -> None:
    """Rows of every table, with every kind of value."""
    with opened(url) as store, store.writing() as session:
        target = revision(3, gpus=2, environment_variables={"A": "é"})
        of = deployment("été-線", target=target, deletion=Deletion.FORCED, retry_at=1.5)
        session.deployments.add(of)
        session.deployments.add(deployment("plain", last_stable=revision(1)))
        session.replicas.add(replica(ReplicaState.FAILED, deployment_id=of.id, gpus=(3, 1), memory_bytes=2**40))
        for number in range(13):
            session.events.add(Event(AT + timedelta(microseconds=number), "plain", of.id, "ci", "scale", {"to": None}))
        session.keys.add(keys.make("first", Role.VIEWER, AT, AT + timedelta(1)).key)
        session.idempotency_keys.begin("ci", "k", "request", AT)
        session.idempotency_keys.record("ci", "k", 202, {"a": [1, 0.5, None]}, AT)
        session.idempotency_keys.begin("ci", "unanswered", "request", AT)
        session.load_reports.put([LoadReport("w", of.id, 1, 2, 3, 1.25, 2.5)])
        session.secrets.add(Secret("hf", "v1", ("A",), (), {}, bytes(range(256)), AT, AT))
        session.leases.take("gone", 1.0, 3.0)


def rows(url: str) -> Rows:
    """Everything that a copy has."""
    with closing(Store(url)) as store, store.reading() as session:
        return {
            table.name: [tuple(row) for row in session.connection.execute(select(table).order_by(*table.primary_key))]
            for table in copies.COPIED
        }


def archive_of(storage: StorageSettings) -> bytes:
    file = io.BytesIO()
    write(storage, file)
    return file.getvalue()


def adds_one_more(url: str) -> None:
    """What is inserted after a copy does not take a number that is in use."""
    with closing(Store(url)) as store, store.writing() as session:
        session.deployments.add(deployment("after"))
        session.events.add(Event(AT, "after", "d", "ci", "deploy", {}))
        assert [each.model_id for each in session.deployments.all()][-1] == "after"


@pytest.mark.parametrize("to", ["server", "file"])
@pytest.mark.parametrize("of", ["server", "file"])
def test_an_archive_of_either_kind_is_restored_into_either(
    of: str, to: str, target: StorageSettings, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    with empty_database(postgresql) as one, empty_database(postgresql) as other:
        old = target.model_copy(update={"database_url": one if of == "server" else f"sqlite:///{tmp_path / 'old.db'}"})
        home = tmp_path / "new"
        new = target.model_copy(update={"home": home, "database_url": other if to == "server" else None})
        fill(old.database)
        before = rows(old.database)
        restore(new, io.BytesIO(archive_of(old)))
        assert rows(new.database) == before
        adds_one_more(new.database)


def test_a_restore_replaces_no_rows_without_force_and_sets_them_aside_with_it(on_server: StorageSettings) -> None:
    fill(on_server.database)
    backup, before = archive_of(on_server), rows(on_server.database)
    adds_one_more(on_server.database)
    changed = rows(on_server.database)
    with pytest.raises(BackupError, match="--force sets its contents aside") as caught:
        restore(on_server, io.BytesIO(backup))
    assert PASSWORD not in str(caught.value)
    assert rows(on_server.database) == changed
    (aside,) = restore(on_server, io.BytesIO(backup), force=True).set_aside
    assert rows(on_server.database) == before
    assert rows(f"sqlite:///{aside / 'atelier.db'}") == changed


@pytest.mark.parametrize("failing", ["commit", "rename"])
def test_a_restore_that_cannot_be_finished_changes_neither_rows_nor_files(
    failing: str, on_server: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(on_server.database)
    on_server.home.mkdir(exist_ok=True)
    (on_server.home / "admin.key").write_text("new\n")
    backup = archive_of(on_server)
    adds_one_more(on_server.database)
    (on_server.home / "admin.key").write_text("old\n")
    before = rows(on_server.database)

    def fail(*_: object) -> None:
        raise OSError("no more")

    with monkeypatch.context() as patched:
        if failing == "rename":
            patched.setattr(swap, "_move", fail)
        else:
            patched.setattr("sqlalchemy.Connection.commit", _failing_at(on_server, fail))
        with pytest.raises((OSError, BackupError)):
            restore(on_server, io.BytesIO(backup), force=True)
    assert rows(on_server.database) == before
    assert (on_server.home / "admin.key").read_text() == "old\n"
    assert swap.interrupted(on_server.home) is None
    with tarfile.open(fileobj=io.BytesIO(backup)) as made:
        assert {DATABASE, KEY} <= set(made.getnames())


def _failing_at(storage: StorageSettings, fail: Callable[[], None]) -> Callable[[object], None]:
    """A commit that fails once the files are in their places."""
    from sqlalchemy import Connection

    commit = Connection.commit

    def checked(self: Connection) -> None:
        if (storage.home / "admin.key").read_text() == "new\n":
            fail()
        commit(self)

    return checked  # type: ignore[return-value]


def test_nothing_is_restored_or_moved_while_a_server_holds_the_lease(
    on_server: StorageSettings, tmp_path: Path
) -> None:
    fill(on_server.database)
    backup = archive_of(on_server)
    with closing(Store(on_server.database)) as store, store.writing() as session:
        session.leases.take("server", session.clock.unix(), 60)
    with pytest.raises(BackupError, match="stop it first"):
        restore(on_server, io.BytesIO(backup), force=True)
    with pytest.raises(BackupError, match="stop it first"):
        move(on_server, f"sqlite:///{tmp_path / 'new.db'}")
    other = on_file(on_server, tmp_path / "other.db")
    fill(other.database)
    with pytest.raises(BackupError, match="stop it first"):
        move(other, on_server.database)


def test_a_back_up_of_a_database_that_is_written_to_is_of_one_moment(
    on_server: StorageSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(on_server.database)
    before = rows(on_server.database)
    read, begun = copies._rows, list[bool]()

    def rows_and_then_a_change(*arguments: object) -> object:
        if not begun:
            begun.append(True)
            adds_one_more(on_server.database)
        return read(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(copies, "_rows", rows_and_then_a_change)
        backup = archive_of(on_server)
    restored = on_file(on_server, tmp_path / "restored.db")
    restore(restored, io.BytesIO(backup))
    assert begun
    assert rows(restored.database) == before


@pytest.mark.parametrize("back", [False, True])
def test_a_move_copies_everything_and_a_second_one_changes_nothing(
    back: bool, target: StorageSettings, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"sqlite:///{tmp_path / 'file.db'}", server_url]
    source, to = reversed(urls) if back else urls
    fill(source)
    before = rows(source)
    monkeypatch.setenv("ATELIER_HOME", str(target.home))
    monkeypatch.setenv("ATELIER_DATABASE_URL", source)
    settings.cache_clear()
    for said in ("copied", "all rows were there already"):
        done = CliRunner().invoke(main, ["move-database", "--to", to])
        assert (done.exit_code, done.stderr) == (0, "")
        assert said in done.stdout
        assert PASSWORD not in done.stdout
        assert rows(to) == rows(source) == before
    settings.cache_clear()
    adds_one_more(to)
    with pytest.raises(BackupError, match="has other contents"):
        move(target.model_copy(update={"database_url": source}), to)


def test_a_move_that_fails_leaves_the_new_database_empty(
    target: StorageSettings, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = on_file(target, tmp_path / "file.db")
    fill(here.database)

    def fail(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(copies, "_advance_sequence", fail)
        with pytest.raises(OSError, match="killed"):
            move(here, server_url)
    with closing(Store(server_url)) as store, store.reading() as session:
        assert copies.is_empty(session)
    assert move(here, server_url).rows > 13


@pytest.mark.parametrize("url", ["mysql://u@h/d", "nothing", "sqlite://", "postgresql+psycopg2://u:geheim@h/d"])
def test_what_is_no_database_is_no_place_to_move_to(url: str, target: StorageSettings, tmp_path: Path) -> None:
    here = on_file(target, tmp_path / "file.db")
    fill(here.database)
    with pytest.raises(BackupError, match="a database is named as"):
        move(here, url)
    with pytest.raises(BackupError, match="there is no database"):
        move(on_file(target, tmp_path / "absent.db"), "sqlite:///new.db")
    assert tables.metadata.tables.keys() == {table.name for table in copies.COPIED} | {"leases"}
