"""The load of models, over the real store: who is scaled, who sleeps, who makes place, and what is written of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from management.backends.launcher import (
    ReplicaUsage,
)
from management.control.commands import DeploymentCommands
from management.control.replicas import prober
from management.domain.capacity import Capacity
from management.domain.clock import Clock
from management.domain.records import NOTHING, Deployment, LoadReport, Resources, Revision, Scaling
from management.errors import InsufficientResources, InvalidModelConfig
from tests.doubles.management import AT, FakeLauncher, deployment, revision
from tests.doubles.stage import MIN_FREE_MEMORY, HandClock, Stage

SOMEBODY = "somebody"


class MeteredLauncher(FakeLauncher):
    """Each of its replicas uses so many cores."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.cores = self._seconds = 0.0
        self._clock, self._at = clock, clock.steady()

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        before, self._at = self._at, self._clock.steady()
        self._seconds += self.cores * (self._at - before)
        return {replica_id: ReplicaUsage(self._seconds, 7) for replica_id in replica_ids}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    clock = HandClock(AT.timestamp())
    made = Stage(tmp_path, MeteredLauncher(clock), clock=clock, idle_seconds=300, quiet_seconds=60, lease_seconds=1e9)
    yield made
    made.store.close()


def scaled(low: int, high: int) -> dict[str, Any]:
    return {"target": revision(1, scaling=Scaling(low, high, 50))}


async def serving(stage: Stage, model_id: str = "echo", *, low: int = 1, high: int = 4, **changes: Any) -> Deployment:
    """It serves, and what its start used is forgotten."""
    if not stage.supervisor.leads:
        await stage.lead()
    stage.wish(model_id, updated_at=stage.clock.now(), **scaled(low, high), **changes)
    for _ in range(10):
        await second(stage)
    return stage.told(model_id)


async def second(stage: Stage, *demands: LoadReport) -> None:
    """A second passes, in which callers want this."""
    assert isinstance(stage.clock, HandClock)
    stage.clock.at += 1.0
    with stage.store.writing(counted=False) as session:
        session.load_reports.put(demands)
    await stage.look()


def demand(model: Deployment, stage: Stage, in_flight: int = 0, waiting: int = 0) -> LoadReport:
    at = stage.clock.unix() + 1.0
    return LoadReport("worker", model.id, in_flight, waiting, 32, at, at)


def reasons(stage: Stage, model_id: str = "echo") -> list[tuple[str, str, object]]:
    """Who changed the number, how, and why; the first first."""
    found = [event for event in stage.events(model_id) if event.action in {"scale", "rest"}]
    return [
        (event.actor, f"{event.details['from']} -> {event.details['to']}", event.details["reason"])
        for event in found[::-1]
    ]


async def test_requests_that_wait_bring_replicas_and_a_quiet_minute_takes_them_away(stage: Stage) -> None:
    model = await serving(stage)
    for _ in range(2):
        await second(stage, demand(model, stage, 32, 5))
    assert stage.told().replicas == 2
    await second(stage, demand(model, stage))
    for _ in range(58):
        await second(stage)
    assert stage.told().replicas == 2
    for _ in range(6):
        await second(stage)
    assert stage.told().replicas == 1
    assert [reason[:2] for reason in reasons(stage)] == [("autoscaler", "1 -> 2"), ("autoscaler", "2 -> 1")]
    assert reasons(stage)[0][2] == "5 requests wait, 1 ready"


async def test_replicas_that_use_more_than_they_asked_for_get_company(stage: Stage) -> None:
    await serving(stage)
    assert isinstance(stage.launcher, MeteredLauncher)
    stage.launcher.cores = 0.07  # of the 0.1 that each asked for; the target is half of that
    for _ in range(20):
        await second(stage)
    assert reasons(stage)[:2] == [
        ("autoscaler", "1 -> 2", "CPU at 70 % of what was asked for, target 50 %, 1 ready"),
        ("autoscaler", "2 -> 3", "CPU at 70 % of what was asked for, target 50 %, 2 ready"),
    ]


async def test_never_more_than_is_allowed_nor_than_there_is_room_for(stage: Stage) -> None:
    model = await serving(stage, high=3)
    for _ in range(20):
        await second(stage, demand(model, stage, 32, 500))
    assert stage.told().replicas == 3
    stage.supervisor._journal._capacity = Capacity(Resources(400, 2**40, 0))  # four replicas of 100 millicores
    other = await serving(stage, "other", high=9)
    for _ in range(20):
        await second(stage, demand(model, stage, 32, 500), demand(other, stage, 32, 500))
    assert (stage.told().replicas, stage.told("other").replicas) == (3, 1)


async def test_a_number_that_somebody_chose_is_held(stage: Stage) -> None:
    model = await serving(stage)
    wishes = DeploymentCommands(stage.capacity, hold_seconds=100, clock=stage.clock)
    with stage.store.writing() as session:
        wishes.scale(session, "echo", 2, SOMEBODY)
    for _ in range(90):
        await second(stage, demand(model, stage, 64, 9))
    assert stage.told().replicas == 2
    for _ in range(15):
        await second(stage, demand(model, stage, 64, 9))
    assert stage.told().replicas > 2


@pytest.mark.parametrize("replicas", [1, 5])
async def test_nobody_chooses_a_number_that_is_not_allowed(stage: Stage, replicas: int) -> None:
    await serving(stage, low=2, high=4, replicas=2)
    wishes = DeploymentCommands(stage.capacity, clock=stage.clock)
    with pytest.raises(InvalidModelConfig), stage.store.writing() as session:
        wishes.scale(session, "echo", replicas, SOMEBODY)


async def test_a_model_on_demand_sleeps_when_nobody_asks_and_wakes_once(stage: Stage) -> None:
    model = await serving(stage, low=0)
    for _ in range(280):
        await second(stage)
    await second(stage, demand(model, stage))
    for _ in range(298):
        await second(stage)
    assert stage.told().replicas == 1, "it was asked 298 seconds ago"
    for _ in range(4):
        await second(stage)
    assert (stage.told().replicas, stage.told().scaled_to_zero) == (0, True)
    assert reasons(stage) == [("autoscaler", "1 -> 0", "it got no requests for 300 s")]
    wishes = DeploymentCommands(stage.capacity, clock=stage.clock)
    for _ in range(2):
        with stage.store.writing() as session:
            wishes.activate(session, "echo")
    for _ in range(4):
        await second(stage)
    assert stage.rests(1, 1)
    assert [event.action for event in stage.events()].count("wake") == 1


async def test_a_model_that_is_being_asked_does_not_sleep_however_long_it_takes(stage: Stage) -> None:
    model = await serving(stage, low=0)
    asked_at = stage.clock.unix()
    for _ in range(400):
        await second(stage, LoadReport("worker", model.id, 1, 0, 32, asked_at, stage.clock.unix() + 1.0))
    assert stage.told().replicas == 1


async def test_who_needs_room_gets_that_of_the_longest_idle_and_nobody_is_ended_in_vain(stage: Stage) -> None:
    stage.capacity = Capacity(Resources(300, 2**40, 0))
    wishes = DeploymentCommands(stage.capacity, clock=stage.clock)
    for name in ("old", "new", "warm"):
        await serving(stage, name, low=0)
    warm = stage.told("warm")
    with stage.store.writing() as session:
        session.load_reports.put([demand(warm, stage)])
    with pytest.raises(InsufficientResources), stage.store.writing() as session:
        wishes._make_room(session, NOTHING, deployment("wanted", replicas=3))
    with stage.store.writing() as session:
        wishes._make_room(session, NOTHING, deployment("wanted", replicas=2))
    assert {name for name in ("old", "new", "warm") if stage.told(name).scaled_to_zero} == {"old", "new"}


async def test_nobody_makes_place_who_has_not_got_what_is_missing(stage: Stage) -> None:
    stage.capacity = Capacity(Resources(10**6, 2**40, 1))
    stage.supervisor = stage.made()
    await serving(stage, "cpu", low=0)
    await serving(stage, "gpu", low=0)
    with stage.store.writing() as session:
        model = session.deployments.get("gpu")
        assert model is not None
        session.deployments.put(replace(model, target=with_gpu(model.target), last_stable=with_gpu(model.target)))
    for _ in range(12):
        await second(stage)
    wishes = DeploymentCommands(stage.capacity, clock=stage.clock)
    with stage.store.writing() as session:
        wishes._make_room(session, NOTHING, deployment("wanted", target=revision(1, gpus=1)))
    assert (stage.told("cpu").scaled_to_zero, stage.told("gpu").scaled_to_zero) == (False, True)


def with_gpu(wanted: Revision) -> Revision:
    return replace(wanted, config=replace(wanted.config, resources=Resources(100, 2**20, 1)))


async def test_what_was_woken_a_moment_ago_makes_no_place(stage: Stage) -> None:
    wishes = DeploymentCommands(Capacity(Resources(100, 2**40, 0)), clock=stage.clock)
    await stage.lead()
    for name in ("first", "second"):
        stage.wish(
            name, **scaled(0, 4), replicas=0, scaled_to_zero=True, last_stable=revision(1, scaling=Scaling(0, 4, 50))
        )
    with stage.store.writing() as session:
        wishes.activate(session, "first")
    with pytest.raises(InsufficientResources), stage.store.writing() as session:
        wishes.activate(session, "second")
    assert not stage.told("first").scaled_to_zero


async def test_what_was_given_up_neither_sleeps_nor_takes_room(stage: Stage) -> None:
    await serving(stage, low=0)
    with stage.store.writing() as session:
        session.deployments.put(replace(stage.told(), failed=True))
    stage.free_memory = MIN_FREE_MEMORY - 1
    for _ in range(400):
        await second(stage)
    assert not stage.told().scaled_to_zero
    assert Capacity(Resources(100, 2**40, 0)).fits([stage.told()], Resources(100, 1, 0))


async def test_where_the_machine_is_short_of_memory_one_after_the_other_is_ended(stage: Stage) -> None:
    for name in ("first", "second"):
        await serving(stage, name, low=0)
    await serving(stage, "always", low=1)
    for _ in range(12):
        await second(stage)
    stage.free_memory = MIN_FREE_MEMORY - 1
    for _ in range(3):
        await second(stage)
    assert [stage.told(name).scaled_to_zero for name in ("first", "second")] == [True, False]
    for _ in range(6):
        await second(stage)
    assert [stage.told(name).scaled_to_zero for name in ("first", "second", "always")] == [True, True, False]
    assert reasons(stage, "first")[0][2] == "the machine is short of memory"
