"""What every database behind the store does, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from management.domain import keys
from management.domain.keys import Role
from management.domain.records import TRANSITIONS, Deletion, Event, Replica, ReplicaState, Status, status_of
from management.store import Session, Store, events, idempotency_keys, replicas, tables
from management.store.leases import Lease
from management.store.replicas import IllegalTransition
from tests.doubles.management import AT, deployment, replica, revision
from tests.support.postgresql.databases import KINDS, migrated_database


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store on the one PostgreSQL database of these tests."""
    with migrated_database(request.getfixturevalue("postgresql")) as url, contextlib.closing(Store(url)) as made:
        yield made


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        with contextlib.closing(Store(f"sqlite:///{tmp_path}/store.db")) as made:
            made.migrate()
            yield made
        return
    made = request.getfixturevalue("opened")
    try:
        yield made
    finally:
        with made.writing(counted=False) as session:
            for table in reversed(tables.metadata.sorted_tables):
                if table is not tables.changes:
                    session.connection.execute(table.delete())


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    """One writing transaction."""
    with store.writing() as opened:
        yield opened


FULL = deployment(
    target=revision(3, gpus=2, environment_variables={"A": "é"}),
    last_stable=revision(2),
    replicas=4,
    failures=2,
    retry_at=1.5,
    failed=True,
    rolled_back_from="9.0.0",
    rollback_reason="it broke",
    reason="线路",
    deletion=Deletion.FORCED,
    updated_at=AT + timedelta(microseconds=1),
)


def test_a_deployment_comes_back_as_it_was(session: Session) -> None:
    plain = deployment("other")
    for each in (FULL, plain):
        session.deployments.add(each)
    assert session.deployments.get("echo") == FULL
    assert session.deployments.all() == [FULL, plain], "in the order of creation"
    assert session.deployments.get("nobody") is None
    changed = replace(plain, replicas=7, deletion=Deletion.GRACEFUL, last_stable=plain.target)
    session.deployments.put(changed)
    assert session.deployments.all() == [FULL, changed]


def test_equal_revisions_are_decoded_once(session: Session) -> None:
    for number in range(3):
        session.deployments.add(deployment(f"m{number}", target=revision(1), last_stable=revision(1)))
    found = [record for item in session.deployments.all() for record in (item.target, item.last_stable)]
    assert found == [revision(1)] * 6
    assert all(record is found[0] for record in found)


@pytest.mark.parametrize("stored", ["'null'", "NULL"])
def test_a_deployment_that_was_never_stable_has_the_null_of_json_or_of_sql(session: Session, stored: str) -> None:
    never = deployment()
    session.deployments.add(never)
    session.connection.execute(text(f"UPDATE deployments SET served = {stored}"))
    assert session.deployments.all() == [never]


def test_a_model_id_is_taken_once(store: Store) -> None:
    with store.writing() as session:
        session.deployments.add(deployment())
    with pytest.raises(IntegrityError), store.writing() as session:
        session.deployments.add(deployment())


def test_a_replica_comes_back_as_it_was(session: Session) -> None:
    session.deployments.add(FULL)
    stored = replica(deployment_id=FULL.id, ready_at=AT, address="unix:/a", gpus=(3, 1), reason="é", log_tail="a\nb")
    two = replica(ReplicaState.STARTING, 2, deployment_id=FULL.id, cpu_millicores=5, memory_bytes=2**30)
    for each in (stored, two):
        session.replicas.add(each)
    assert session.replicas.all() == session.replicas.of([FULL.id]) == [stored, two]
    assert session.replicas.ready() == [stored]
    assert session.replicas.of([]) == []
    session.replicas.record_usage({stored.id: (7, 8)})
    assert session.replicas.all() == [replace(stored, cpu_millicores=7, memory_bytes=8), two]


@pytest.mark.parametrize(("before", "after"), list(product(ReplicaState, repeat=2)))
def test_only_legal_moves_are_made(session: Session, before: ReplicaState, after: ReplicaState) -> None:
    session.deployments.add(FULL)
    stored = replica(before, deployment_id=FULL.id)
    session.replicas.add(stored)
    stale = replace(stored, state=ReplicaState.STARTING)  # the row decides, not the caller's copy
    if after not in TRANSITIONS[before]:
        with pytest.raises(IllegalTransition):
            session.replicas.transition(stale, after, AT)
        assert session.replicas.all() == [stored]
        return
    moved = session.replicas.transition(stale, after, AT + timedelta(1), reason="so")
    assert moved == replace(stored, state=after, changed_at=AT + timedelta(1), reason="so")
    assert session.replicas.all() == ([] if after is ReplicaState.GONE else [moved])


def test_an_unknown_replica_does_not_move(session: Session) -> None:
    with pytest.raises(IllegalTransition):
        session.replicas.transition(replica(), ReplicaState.GONE, AT)


def test_all_but_the_last_failed_replicas_are_forgotten(session: Session) -> None:
    session.deployments.add(FULL)
    failed = [replica(ReplicaState.FAILED, deployment_id=FULL.id) for _ in range(replicas.KEPT_FAILURES + 2)]
    alive = replica(deployment_id=FULL.id)
    for each in (*failed, alive):
        session.replicas.add(each)
    assert set(session.replicas.forget_failed(FULL.id)) == {replica.id for replica in failed[:2]}
    assert session.replicas.all() == [*failed[2:], alive]
    assert session.replicas.forget_failed(FULL.id) == []


def test_a_deployment_takes_its_replicas_along_and_no_replica_is_without_one(store: Store) -> None:
    other = deployment("other")
    kept = replica(deployment_id=other.id)
    with store.writing() as session:
        for each in (FULL, other):
            session.deployments.add(each)
        session.replicas.add(replica(deployment_id=FULL.id))
        session.replicas.add(kept)
        session.deployments.remove(FULL.id)
        assert session.replicas.all() == [kept]
        session.connection.execute(tables.deployments.delete())
        assert session.replicas.all() == [], "the database itself sees to it"
    with pytest.raises(IntegrityError), store.writing() as session:
        session.replicas.add(replica(deployment_id="nobody"))


def test_a_page_has_those_whose_status_is_that_in_every_combination(session: Session) -> None:
    everything: list[tuple[Status, str, str]] = []
    states = [(), *((state,) for state in ReplicaState), tuple(ReplicaState)]
    for number, (some, removal, wanted, gave_up) in enumerate(
        product(states, (None, *Deletion), (0, 2), (False, True))
    ):
        kind = ("summarization", "multimodal")[number % 2]
        config = revision(1, model_type=kind)
        stored = deployment(f"m{number}", target=config, deletion=removal, replicas=wanted, failed=gave_up)
        own = [replica(state, deployment_id=stored.id) for state in some]
        session.deployments.add(stored)
        for each in own:
            session.replicas.add(each)
        everything.append((status_of(stored, own), kind, stored.model_id))
    for status, model_type in product((None, *Status), (None, "summarization", "multimodal")):
        wanted_ids = [
            model_id for found, kind, model_id in everything if status in (None, found) and model_type in (None, kind)
        ]
        page = session.deployments.page(status=status, model_type=model_type, limit=500, offset=0)
        assert [item.model_id for item in page.items] == wanted_ids
        part = session.deployments.page(status=status, model_type=model_type, limit=3, offset=2)
        assert ([item.model_id for item in part.items], part.total) == (wanted_ids[2:5], len(wanted_ids))
    assert {status for status, _, _ in everything} == set(Status)


def test_moments_come_back_in_utc(session: Session) -> None:
    there = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    session.deployments.add(deployment(created_at=there))
    [found] = session.deployments.all()
    assert found.created_at == there
    assert found.created_at.tzinfo is UTC


def test_changes_are_counted_when_others_are_to_look_again(store: Store) -> None:
    counts: list[int] = []
    for counted in (True, False, True):
        with store.writing(counted=counted) as session:
            session.deployments.add(deployment(f"m{len(counts)}"))
        with store.reading() as session:
            counts.append(session.changes())
    assert [counts[1] - counts[0], counts[2] - counts[1]] == [0, 1]


def test_a_block_that_raises_changes_nothing(store: Store) -> None:
    with store.reading() as session:
        before = session.changes()
    with contextlib.suppress(ZeroDivisionError), store.writing() as session:
        session.deployments.add(FULL)
        raise ZeroDivisionError
    with store.reading() as session:
        assert (session.deployments.all(), session.changes()) == ([], before)


async def test_work_is_done_beside_the_event_loop(store: Store) -> None:
    await store.write(lambda session: session.deployments.add(FULL))
    assert await store.read(lambda session: session.deployments.all()) == [FULL]


def test_one_holds_the_lease_until_it_runs_out_or_is_given_back(session: Session) -> None:
    leases = session.leases
    assert not leases.holds("a", 0.0)
    assert leases.take("a", 100.0, 3.0)
    assert not leases.take("b", 102.9, 3.0)
    assert leases.take("a", 102.0, 3.0), "renewed"
    assert not leases.take("b", 104.9, 3.0)
    assert [leases.holds("a", 104.9), leases.holds("a", 105.0), leases.holds("b", 104.0)] == [True, False, False]
    assert leases.take("b", 105.0, 3.0)
    assert leases.take("b", 106.0, 0.0), "given back"
    assert not leases.holds("b", 106.0)
    assert leases.take("a", 106.0, 3.0)
    assert leases.get() == Lease("a", 109.0)
    leases.give_back("b")
    assert not leases.take("b", 107.0, 3.0), "it was not b's to give"
    leases.give_back("a")
    assert leases.take("b", 107.0, 3.0)


def test_a_lease_from_a_clock_that_was_set_back_since_is_nobodys(session: Session) -> None:
    assert session.leases.take("a", 4000.0, 3.0)
    assert session.leases.take("b", 400.0, 3.0)


def test_an_answer_is_given_again_until_a_day_is_over(session: Session) -> None:
    kept = session.idempotency_keys
    assert kept.begin("ci", "k", "request", AT) is None
    kept.record("ci", "k", 202, {"status": "deploying"}, AT + timedelta(seconds=30))
    waiting = kept.begin("ci", "k", "request", AT)
    assert waiting == idempotency_keys.RecordedReply("request", running=True, status=202, body={"status": "deploying"})
    kept.record("ci", "k", 200, {"status": "deployed"})
    done = idempotency_keys.RecordedReply("request", running=False, status=200, body={"status": "deployed"})
    assert kept.begin("ci", "k", "other request", AT + timedelta(hours=24)) == done
    assert kept.begin("other", "k", "request", AT) is None, "keys are each caller's own"
    assert kept.begin("ci", "k", "request", AT + timedelta(hours=24, microseconds=1)) is None


def test_a_request_that_died_with_its_server_does_not_run_for_ever(session: Session) -> None:
    kept = session.idempotency_keys
    kept.begin("ci", "k", "request", AT)
    kept.record("ci", "k", 202, {}, AT + timedelta(seconds=30))
    for passed, running in ((29, True), (30, False)):
        found = kept.begin("ci", "k", "request", AT + timedelta(seconds=passed))
        assert found is not None
        assert (found.running, found.status) == (running, 202)


def test_events_come_back_newest_first_and_so_many_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 5)
    for number in range(8):
        for model_id in ("a", "b"):
            session.events.add(Event(AT, model_id, "d", "ci", "scale", {"to": number}))
    assert [event.details["to"] for event in session.events.of("a", 3)] == [7, 6, 5]
    assert len(session.events.of("a", 100)) == len(session.events.of("b", 100)) == 5
    assert session.events.of("a", 1) == [Event(AT, "a", "d", "ci", "scale", {"to": 7})]
    assert session.events.of("c", 100) == []


def test_keys_come_back_as_they_were_and_are_revoked_once(session: Session) -> None:
    first = keys.make("first", Role.VIEWER, AT, AT + timedelta(1)).key
    second = keys.make("second", Role.ADMIN, AT + timedelta(2)).key
    for each in (second, first):
        session.keys.add(each)
    assert session.keys.all() == [first, second]
    assert [session.keys.revoke(first.id, AT) for _ in range(2)] == [True, False]
    assert not session.keys.revoke("nobody", AT)
    session.keys.used({second.id: AT, "nobody": AT})
    assert session.keys.all() == [replace(first, revoked_at=AT), replace(second, last_used_at=AT)]


def test_a_replicas_record_is_of_the_revision_that_it_runs(session: Session) -> None:
    session.deployments.add(FULL)
    stored: Replica = replica(deployment_id=FULL.id, revision=FULL.target)
    session.replicas.add(stored)
    assert session.replicas.all()[0].revision.config.environment_variables == {"A": "é"}
