"""PostgreSQL as a database of its own kind: what it refuses, which connections it loses, and who waits how long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DataError

from management.domain import keys
from management.domain.keys import Role
from management.domain.records import Event
from management.errors import StoreUnavailable
from management.store import Session, Store, tables
from management.store.databases import Transaction, connections
from management.store.databases.postgresql import POOL_CONNECTIONS, shown
from management.store.migrate import upgrade
from management.store.store import QUEUE_SECONDS
from management.urls import libpq_url
from tests.doubles.management import AT, deployment, replica
from tests.support.calls import until
from tests.support.postgresql.databases import empty_database, migrated_database
from tests.support.postgresql.forwarder import forwarding
from tests.support.postgresql.server import PASSWORD, PostgresqlServer, running, server_folder

pytestmark = [pytest.mark.server, pytest.mark.postgresql]

BUSY_SECONDS = 1
CONNECT_SECONDS = 2
"""The least that libpq allows."""
LONGEST_SECONDS = QUEUE_SECONDS + BUSY_SECONDS + connections.MARGIN_SECONDS + CONNECT_SECONDS
"""After which a caller has an answer, whatever the server does."""
SLACK_SECONDS = 20
"""Of a busy machine."""
LAST_OF_32_BITS = 2**31 - 1


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    with closing(impatient(postgresql_url)) as made:
        yield made


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresqlServer]:
    """A server that the tests of this module may stop."""
    with running() as server:
        yield server


@pytest.fixture
def own_store(own_server: PostgresqlServer) -> Iterator[Store]:
    with migrated_database(own_server) as url, closing(impatient(url)) as made:
        assert names(made) == []  # its pool has a connection
        yield made


def impatient(url: str) -> Store:
    """A store that waits for a short while only."""
    return Store(f"{url}?connect_timeout={CONNECT_SECONDS}", BUSY_SECONDS)


def names(store: Store) -> list[str]:
    with store.reading() as session:
        return [deployment.model_id for deployment in session.deployments.all()]


def add(store: Store, model_id: str = "echo") -> None:
    with store.writing() as session:
        session.deployments.add(deployment(model_id))


def adds(store: Store, model_id: str = "other") -> bool:
    """Add a deployment; return whether that was possible."""
    try:
        add(store, model_id)
    except StoreUnavailable:
        return False
    return True


def caught_up(standby: PostgresqlServer, primary: PostgresqlServer) -> bool:
    return standby.sql("SELECT pg_last_wal_replay_lsn()") == primary.sql("SELECT pg_current_wal_lsn()")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_each_scheme_is_served_by_psycopg_3(postgresql_url: str, scheme: str) -> None:
    with closing(Store(postgresql_url.replace("postgresql", scheme, 1))) as store:
        add(store)
        assert names(store) == ["echo"]
        with store.reading() as session:
            assert isinstance(session.connection.connection.driver_connection, psycopg.Connection)


def test_another_database_is_none_of_its_urls() -> None:
    assert libpq_url("sqlite:///postgresql") is None
    assert libpq_url("postgresql+psycopg2://u@h/d") is None
    assert libpq_url("postgresql") is None


def test_the_options_of_libpq_and_several_hosts_go_through(postgresql: PostgresqlServer, postgresql_url: str) -> None:
    port = f":{postgresql.port}/"
    several = postgresql_url.replace(port, f":1,127.0.0.1{port}") + "?connect_timeout=2&application_name=mine"
    with closing(Store(several)) as store, store.reading() as session:
        told = session.connection.execute(text("SELECT current_setting('application_name')")).scalar_one()
        info = session.connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert told == "mine"
    assert (info["connect_timeout"], info["target_session_attrs"]) == ("2", "read-write")
    assert (info["keepalives_idle"], info["tcp_user_timeout"]) == ("5", "10000")


def test_its_place_is_shown_without_a_password(postgresql_url: str) -> None:
    several = "postgres://u:geheim@a:5433,b/models?sslmode=require"
    assert shown(str(libpq_url(several))) == "PostgreSQL at a:5433, b, database models"
    assert shown("postgresql:///m?host=/run/pg&password=geheim") == "PostgreSQL at /run/pg, database m"
    with closing(Store(postgresql_url)) as store:
        assert PASSWORD not in store.place
        assert PASSWORD not in repr(store._database.engine.url)


def test_an_error_tells_nothing_of_the_password(postgresql: PostgresqlServer) -> None:
    with (
        closing(Store(postgresql.url("nowhere", password="geheim"))) as store,
        pytest.raises(StoreUnavailable) as caught,
    ):
        names(store)
    assert "geheim" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_text_that_it_cannot_keep_is_kept_without_what_it_refuses(store: Store) -> None:
    with store.writing() as session:
        of = deployment(reason="a\0b", rollback_reason="\ud800 線 🙂")
        session.deployments.add(of)
        session.replicas.add(replica(deployment_id=of.id, log_tail="\0\0line\udcff"))
        session.events.add(Event(AT, "echo", of.id, "ci", "deploy", {"odd": "\0 \ud800", "\0": None}))
        session.idempotency_keys.begin("ci", "k", "request", AT)
        session.idempotency_keys.record("ci", "k", 400, {"said": "\0\udfff"})
    with store.writing() as session:
        (found,), (running,) = session.deployments.all(), session.replicas.all()
        assert (found.reason, found.rollback_reason) == ("a\ufffdb", "\ufffd 線 🙂")
        assert running.log_tail == "\ufffd\ufffdline\ufffd"
        assert session.events.of("echo", 1)[0].details == {"odd": "\0 \ud800", "\0": None}, "JSON can hold it"
        reply = session.idempotency_keys.begin("ci", "k", "request", AT)
        assert reply is not None
        assert reply.body == {"said": "\0\udfff"}


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "x" * 10_000, "", "'\"%s%(a)s:a", "\U0001f600"])
def test_what_no_row_can_have_is_not_found(store: Store, odd: str) -> None:
    add(store)
    with store.writing() as session:
        assert session.deployments.get(odd) is None
        assert session.events.of(odd, 10) == []
        assert session.secrets.get(odd) is None
        assert not session.keys.revoke(odd, AT)
        page = session.deployments.page(status=None, model_type=odd, limit=5, offset=0, labels={odd: odd})
        assert (page.items, page.total) == ([], 0)


def test_a_value_that_a_column_cannot_hold_is_a_bug_and_no_outage(store: Store) -> None:
    for wrong in (deployment("x" * 64), deployment(replicas=2**31)):
        with pytest.raises(DataError), store.writing() as session:
            session.deployments.add(wrong)
    assert names(store) == []


def test_counters_of_the_version_before_go_on_where_32_bits_end(postgresql: PostgresqlServer) -> None:
    numbered = (tables.deployments, tables.replicas, tables.events)
    with empty_database(postgresql) as url, closing(Store(url)) as store:
        with store.writing(counted=False) as session:
            upgrade(session.connection, "0005")
            for table in numbered:
                session.connection.execute(text(f"SELECT setval('{table}_number_seq', {LAST_OF_32_BITS})"))
            session.connection.execute(tables.changes.update().values(count=LAST_OF_32_BITS))
        store.migrate()
        added = deployment()
        with store.writing() as session:
            session.deployments.add(added)
            session.replicas.add(replica(deployment_id=added.id))
            session.events.add(Event(AT, "echo", added.id, "ci", "deploy", {}))
        with store.reading() as session:
            last = [session.connection.execute(select(table.c.number)).scalar_one() for table in numbered]
            assert last == [LAST_OF_32_BITS + 1] * len(numbered)
            assert session.changes() == LAST_OF_32_BITS + 1


def test_the_longest_names_that_the_forms_allow_fit(store: Store) -> None:
    with store.writing() as session:
        session.deployments.add(deployment("m" * 63, rolled_back_from="9" * 64, reason="x" * 2**20))
        parent = keys.make("n" * 100, Role.ADMIN, AT).key
        session.keys.add(parent)
        session.keys.add(keys.make(keys.login_name(parent), Role.ADMIN, AT).key)
        session.idempotency_keys.begin(parent.id, "k" * 255, "f" * 64, AT)
        session.keys.add(keys.chosen("any text as a key", "n", AT))


@pytest.mark.parametrize("seconds", [-3600, 0, 3600])
def test_the_clock_of_its_transactions_is_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Whatever the machine's clock says, also before and after it is set."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    with store.reading() as session:
        before = session.connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        told = session.clock.unix()
        after = session.connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    assert float(before) - 1 < told < float(after) + 1
    assert abs(store.clock.ahead() + seconds) < 1
    assert abs(store.clock.now() - datetime.now(UTC)) < timedelta(seconds=1) or seconds


def test_a_restart_costs_no_transaction(own_server: PostgresqlServer, own_store: Store) -> None:
    add(own_store)
    own_server.stop()
    with pytest.raises(StoreUnavailable):
        names(own_store)
    own_server.start()
    assert names(own_store) == ["echo"]
    own_server.stop()
    own_server.start()
    add(own_store, "other")  # a connection of the pool is lost, and nobody notices
    assert names(own_store) == ["echo", "other"]


@pytest.mark.parametrize("writing", [False, True])
def test_a_server_that_is_silent_holds_up_nobody_for_long(
    own_server: PostgresqlServer, own_store: Store, writing: bool
) -> None:
    began = time.monotonic()
    with own_server.frozen():
        for _ in range(2):  # by a connection of the pool, and by a new one
            with pytest.raises(StoreUnavailable):
                add(own_store) if writing else names(own_store)
        assert time.monotonic() - began < 2 * LONGEST_SECONDS + SLACK_SECONDS
    until(lambda: adds(own_store))


async def test_calls_that_wait_for_a_silent_server_are_refused_in_time(
    own_server: PostgresqlServer, own_store: Store
) -> None:
    with own_server.frozen():
        began = time.monotonic()
        calls = [own_store.read(lambda session: session.changes()) for _ in range(60)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert time.monotonic() - began < LONGEST_SECONDS + SLACK_SECONDS


def test_a_writer_that_stops_in_the_middle_frees_the_others(store: Store, postgresql_url: str) -> None:
    """As a control plane does that is stopped, or loses its network: the server ends its transaction."""
    with closing(impatient(postgresql_url)) as other:

        def wait_for_another(session: Session) -> None:
            session.deployments.add(deployment("half"))
            until(lambda: adds(other, "whole"), SLACK_SECONDS)

        with pytest.raises(StoreUnavailable):
            store._write(wait_for_another, counted=True)
        assert names(other) == ["whole"]
        assert names(store) == ["whole"], "its own connection is replaced"


def test_a_writer_waits_for_another_one_no_longer_than_on_sqlite(store: Store, postgresql_url: str) -> None:
    with closing(impatient(postgresql_url)) as other, store._database.begin(Transaction(writing=True, seconds=30)):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            add(other)
        assert BUSY_SECONDS <= time.monotonic() - began < BUSY_SECONDS + SLACK_SECONDS
        assert names(other) == [], "readers do not wait"


def test_a_server_that_takes_no_changes_is_dropped_for_the_one_that_does(
    postgresql: PostgresqlServer, postgresql_url: str
) -> None:
    name = postgresql_url.rpartition("/")[2]
    with closing(Store(postgresql_url)) as store:
        add(store)
        postgresql.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with store.reading() as session:  # the setting holds for new connections
            session.connection.invalidate()
        with pytest.raises(StoreUnavailable):
            add(store, "refused")
        postgresql.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        add(store, "other")  # by a new connection
        assert names(store) == ["echo", "other"]


def test_no_more_connections_are_opened_than_the_pool_may_have(store: Store, postgresql: PostgresqlServer) -> None:
    inside, let_go = threading.Semaphore(0), threading.Event()

    def look() -> None:
        with store._database.begin(Transaction(seconds=60)):
            inside.release()
            let_go.wait()

    threads = [threading.Thread(target=look) for _ in range(POOL_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=SLACK_SECONDS)
    database = store.place.rpartition(" ")[2]
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    try:
        assert postgresql.sql(query) == str(POOL_CONNECTIONS)
        with pytest.raises(StoreUnavailable):  # and does not wait for ever
            names(store)
    finally:
        let_go.set()
        for thread in threads:
            thread.join()
    assert names(store) == []


def test_a_standby_is_not_read_and_the_promoted_one_is_found(own_server: PostgresqlServer) -> None:
    with server_folder() as folder, migrated_database(own_server) as url:
        standby = own_server.standby(folder)
        standby.start()
        try:
            two = url.replace(f":{own_server.port}/", f":{own_server.port},127.0.0.1:{standby.port}/")
            alone = url.replace(f":{own_server.port}/", f":{standby.port}/")
            with closing(Store(two)) as store, closing(Store(alone)) as behind:
                add(store)
                with pytest.raises(StoreUnavailable):
                    names(behind)
                until(lambda: caught_up(standby, own_server))
                own_server.kill()
                standby.sql("SELECT pg_promote()")
                until(lambda: adds(store))
                assert names(store) == names(behind) == ["echo", "other"]
        finally:
            standby.kill()
            own_server.start()


def test_a_commit_whose_answer_is_lost_is_reported_and_its_repetition_finds_it(
    postgresql: PostgresqlServer, postgresql_url: str
) -> None:
    """The caller gets 503, and repeats the request with its Idempotency-Key: it is done once."""

    def deploy(session: Session) -> bool:
        if session.idempotency_keys.begin("ci", "k", "request", session.clock.now()) is not None:
            return False
        session.deployments.add(deployment())
        return True

    with forwarding(postgresql.port) as forwarder:
        through = postgresql_url.replace(f":{postgresql.port}/", f":{forwarder.port}/")
        with closing(impatient(through)) as store:
            assert names(store) == []
            forwarder.losing = True
            with pytest.raises(StoreUnavailable):
                store._write(deploy, counted=True)
            assert not forwarder.losing
            assert store._write(deploy, counted=True) is False
            assert names(store) == ["echo"]
