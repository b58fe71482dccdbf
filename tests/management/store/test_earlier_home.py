"""A database that version 0.1.0 wrote before its packages were sorted: it opens, reads and writes as it did."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from management.domain.keys import Role
from management.domain.records import Deletion, LoadReport, ReplicaState, Status, status_of
from management.store import Store
from tests.support.servers import ROOT

DUMP = ROOT / "tests" / "inputs" / "home-0.1.0.sql"
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = sqlite3.connect(tmp_path / "atelier.db")
    database.executescript(DUMP.read_text())
    database.close()
    opened = Store(f"sqlite:///{tmp_path / 'atelier.db'}")
    opened.migrate()
    yield opened
    opened.close()


def test_every_state_of_a_deployment_is_read(store: Store) -> None:
    with store.reading() as session:
        by_id = {deployment.model_id: deployment for deployment in session.deployments.all()}
        replicas = session.replicas.of(deployment.id for deployment in by_id.values())
        counts = session.deployments.counts()
    serving, rolled_back = by_id["serving"], by_id["rolled-back"]
    assert serving.is_stable
    assert (serving.target.number, serving.revision_counter) == (2, 2)
    assert serving.autoscaling_paused_until == 1793534400.0
    assert serving.target.config.environment_variables == {"GREETING": "hi"}
    assert (rolled_back.rolled_back_from, rolled_back.rollback_reason) == ("2.0.0", "it was not ready within 180 s")
    assert by_id["gave-up"].failed
    assert by_id["sleeping"].scaled_to_zero
    assert by_id["sleeping"].may_become_ready
    assert by_id["being-deleted"].deletion is Deletion.GRACEFUL
    statuses = {
        name: status_of(deployment, [replica for replica in replicas if replica.deployment_id == deployment.id])
        for name, deployment in by_id.items()
    }
    assert statuses == {
        "serving": Status.RUNNING,
        "rolled-back": Status.PENDING,
        "gave-up": Status.FAILED,
        "sleeping": Status.STOPPED,
        "being-deleted": Status.STOPPED,
    }
    assert counts == {status: list(statuses.values()).count(status) for status in Status}


def test_replicas_keep_their_states_addresses_and_devices(store: Store) -> None:
    with store.reading() as session:
        replicas = {replica.id: replica for replica in session.replicas.all()}
    assert {name: replica.state for name, replica in replicas.items()} == {
        "r-ready": ReplicaState.READY,
        "r-silent": ReplicaState.UNRESPONSIVE,
        "r-failed": ReplicaState.FAILED,
        "r-drain": ReplicaState.DRAINING,
    }
    assert replicas["r-ready"].address == "unix:/home/r-ready/socket"
    assert replicas["r-ready"].cpu_millicores == 120
    assert replicas["r-silent"].gpus == (0,)
    assert replicas["r-failed"].log_tail == "Traceback"


def test_keys_events_load_and_replies_are_there(store: Store) -> None:
    with store.writing() as session:
        (key,) = session.keys.all()
        reports = {report.worker: report for report in session.load_reports.all()}
        actions = [event.action for event in session.events.of("sleeping", 10)]
        reply = session.idempotency_keys.begin("abcdefghijkl", "key-1", "f" * 64, AT + timedelta(days=3650))
    assert (key.role, key.name, key.description) == (Role.OPERATOR, "operator of the team", "")
    assert reports["w1"] == LoadReport("w1", "d-serving", 3, 2, 8, 1793534400.0, 1793534401.0)
    assert reports["folded"].last_request_at == 1793530000.0
    assert actions == ["rest"]
    assert reply is not None
    assert (reply.status, reply.running, reply.body["deployment_id"]) == (202, False, "d-serving")


def test_what_is_written_back_can_be_read_by_the_version_before(store: Store, tmp_path: Path) -> None:
    """The columns keep their names, so that a server can go back to 0.1.0."""
    with store.writing() as session:
        for deployment in session.deployments.all():
            session.deployments.put(deployment)
        session.load_reports.put(session.load_reports.all())
    store.close()
    rows = {}
    for name, script in (("before", DUMP.read_text()), ("after", None)):
        file = tmp_path / ("atelier.db" if script is None else "copy.db")
        database = sqlite3.connect(file)
        if script is not None:
            database.executescript(script)
        rows[name] = [
            sorted(map(repr, database.execute(f"SELECT * FROM {table}"))) for table in ("deployments", "demands")
        ]
        database.close()
    assert rows["after"] == rows["before"]
