"""No replica starts before its environment is ready, and what serves goes on meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from management.backends.preparation import EnvironmentState
from management.backends.process.environments.preparer import UvPreparer
from management.backends.process.images import BentoStore
from management.backends.process.settings import ProcessSettings
from management.control.replicas import prober
from management.control.replicas.plan import Action, CountFailedEnvironment, Drain, Start, StartStable, Stop, plan
from management.domain.records import Replica, ReplicaState, Revision, Status, status_of
from tests.doubles.management import AT, FakeLauncher, deployment, replica, revision
from tests.doubles.preparer import FakePreparer
from tests.doubles.stage import HandClock, Stage

PREPARING, FAILED, READY = EnvironmentState.PREPARING, EnvironmentState.FAILED, EnvironmentState.READY
NEW = "suoke/echo:2.0.0"
NOW = AT.timestamp()
OLD, WANTED = revision(1), revision(2)


def second() -> Revision:
    """A revision with another image."""
    return replace(WANTED, config=replace(WANTED.config, docker_image=NEW, version="2.0.0"))


@pytest.fixture
def preparer() -> FakePreparer:
    return FakePreparer()


@pytest.fixture
async def stage(tmp_path: Path, preparer: FakePreparer, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    made = Stage(tmp_path, environments=preparer, clock=HandClock(NOW))
    await made.lead()
    return made


def planned(state: EnvironmentState, *replicas: Replica, free_slots: int = 9, **changes: Any) -> list[Action]:
    wish = deployment(target=WANTED, **{"replicas": 1, **changes})
    return plan(wish, replicas, now=NOW, attempts=3, free_slots=free_slots, environment=state)


def test_nothing_starts_in_an_environment_that_is_being_made() -> None:
    assert planned(PREPARING) == []
    assert planned(READY) == [Start()]


def test_a_failed_environment_counts_only_where_a_replica_would_start() -> None:
    assert planned(FAILED) == [CountFailedEnvironment()]
    assert planned(FAILED, replica(number=2, revision=WANTED)) == []
    assert planned(FAILED, retry_at=NOW + 1) == []


@pytest.mark.parametrize("state", [ReplicaState.STARTING, ReplicaState.READY, ReplicaState.UNRESPONSIVE])
def test_outdated_replicas_are_left_alone_meanwhile(state: ReplicaState) -> None:
    assert planned(PREPARING, replica(state, revision=OLD)) == []
    assert planned(PREPARING, replica(state, revision=OLD), free_slots=0) == []


def test_outdated_replicas_beyond_the_desired_number_are_drained_all_the_same() -> None:
    first, other = replica(revision=OLD), replica(revision=OLD)
    assert planned(PREPARING, first, other) == [Drain(first.id)]


def test_the_stable_revision_is_started_again_meanwhile_but_not_at_once_after_a_failure() -> None:
    ended = replica(ReplicaState.FAILED, revision=OLD, changed_at=AT)
    assert planned(PREPARING, ended, last_stable=OLD) == []
    assert planned(PREPARING, replace(ended, changed_at=AT.replace(year=AT.year - 1)), last_stable=OLD) == [
        StartStable()
    ]
    assert planned(PREPARING, last_stable=OLD, free_slots=0) == []


def test_a_model_that_is_stopped_or_deleted_waits_for_no_environment() -> None:
    starting = replica(ReplicaState.STARTING, revision=WANTED)
    assert planned(PREPARING, starting, replicas=0) == [Stop(starting.id)]


async def test_a_replica_starts_once_the_environment_is_ready(stage: Stage, preparer: FakePreparer) -> None:
    wish = stage.wish()
    preparer.set(wish.target.config.docker_image, PREPARING)
    for _ in range(3):
        await stage.look()
    assert stage.replicas() == []
    assert status_of(stage.told(), []) is Status.PENDING
    preparer.set(wish.target.config.docker_image, READY)
    await stage.until(lambda: stage.ready() == 1)
    actions = [event.action for event in stage.events()][::-1]
    assert actions == ["environment_preparing", "environment_ready", "replica_ready"]
    ready = stage.events()[1]
    assert (ready.details["seconds"], ready.details["bytes"]) == (2.5, 1000)


async def test_the_next_leader_waits_for_the_same_environment(stage: Stage, preparer: FakePreparer) -> None:
    image = stage.wish().target.config.docker_image
    preparer.set(image, PREPARING)
    await stage.look()
    await stage.succeed()
    await stage.look()
    assert stage.replicas() == []
    preparer.set(image, READY)
    await stage.until(lambda: stage.ready() == 1)


async def test_an_environment_that_cannot_be_made_is_given_up_with_its_reason(
    stage: Stage, preparer: FakePreparer
) -> None:
    preparer.set(stage.wish().target.config.docker_image, FAILED, reason="no such package")
    await stage.until(lambda: stage.told().failed)
    assert stage.told().reason == "its environment could not be made: no such package"
    assert [event.action for event in stage.events()][::-1] == ["environment_failed", "given_up"]
    assert "no such package" in str(stage.events()[1].details["reason"])


async def test_a_temporary_failure_is_tried_again_after_it_was_counted(stage: Stage, preparer: FakePreparer) -> None:
    image = stage.wish().target.config.docker_image
    preparer.set(image, FAILED, reason="the index does not answer", temporary=True)
    await stage.look()
    assert (stage.told().failures, stage.told().failed) == (1, False)
    first = preparer.asked[-1]
    clock = stage.clock
    assert isinstance(clock, HandClock)
    clock.at += 60
    await stage.look()
    assert preparer.asked[-1][1] > first[1], "the failure that was counted is no outcome any more"
    preparer.set(image, READY)
    clock.at += 60
    await stage.until(lambda: stage.ready() == 1)


async def test_a_failed_update_is_rolled_back_and_what_served_is_untouched(
    stage: Stage, preparer: FakePreparer
) -> None:
    stage.wish()
    await stage.until(lambda: stage.told().is_stable)
    (served,) = stage.replicas()
    preparer.set(NEW, PREPARING)
    stage.wish(target=second())
    await stage.look()
    preparer.set(NEW, FAILED, reason="no such package")
    await stage.until(lambda: stage.told().rolled_back_from == "2.0.0", lambda: stage.ready(1) == 1)
    assert [replica.id for replica in stage.replicas()] == [served.id]
    assert "no such package" in stage.told().rollback_reason


async def test_what_serves_is_replaced_while_the_update_is_prepared(stage: Stage, preparer: FakePreparer) -> None:
    stage.wish()
    await stage.until(lambda: stage.told().is_stable)
    (served,) = stage.replicas()
    preparer.set(NEW, PREPARING)
    stage.wish(target=second())
    await stage.look()
    launcher, clock = stage.launcher, stage.clock
    assert isinstance(launcher, FakeLauncher)
    assert isinstance(clock, HandClock)
    launcher.kill(served.id)
    await stage.look()
    clock.at += 60
    await stage.until(lambda: stage.ready(1) == 1)
    assert stage.told().target.number == 2
    preparer.set(NEW, READY)
    await stage.until(lambda: stage.ready(2) == 1)


async def test_environments_of_targets_stable_revisions_and_replicas_are_kept(
    stage: Stage, preparer: FakePreparer
) -> None:
    image = stage.wish().target.config.docker_image
    await stage.until(lambda: stage.told().is_stable)
    preparer.set(NEW, PREPARING)
    stage.wish(target=second())
    stage.supervisor._next_orphan_check_at = 0.0
    await stage.supervisor.each_step()
    assert preparer.retained == {image, NEW}


async def test_a_deployment_whose_image_names_no_bento_does_not_stop_the_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    made = Stage(tmp_path)
    made.environments = UvPreparer(BentoStore(tmp_path / "bentoml"), made.settings.storage, ProcessSettings())
    made.supervisor = made.made()
    earlier = replace(OLD, config=replace(OLD.config, docker_image="Echo of an earlier version"))
    made.wish("earlier", target=earlier)
    made.wish("echo")
    await made.lead()
    await made.until(lambda: status_of(made.told(), made.replicas()) is Status.RUNNING)
    made.store.close()
