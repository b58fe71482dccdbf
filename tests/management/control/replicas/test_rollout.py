"""What each strategy does in one update: step by step, with replicas that are ready, or gone, at the next look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from management.backends.preparation import EnvironmentState
from management.control.replicas import prober
from management.control.replicas.plan import Action, CountFailedEnvironment, Drain, Start, Stop, needs_start, plan
from management.domain.capacity import Capacity
from management.domain.records import Deployment, Replica, ReplicaState
from management.domain.strategy import Strategy
from tests.doubles.management import AT, DyingLauncher, SlowLauncher, deployment, replica, revision
from tests.doubles.stage import Stage

NOW = AT.timestamp()
STARTING, READY, DRAINING = ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING


def updated(strategy: Strategy, replicas: int = 3, **changes: Any) -> Deployment:
    target = revision(2, strategy=strategy)
    return deployment(target=target, replicas=replicas, **({"last_stable": revision(1)} | changes))


def planned(
    wish: Deployment,
    replicas: Sequence[Replica],
    room: int = 9,
    environment: EnvironmentState = EnvironmentState.READY,
) -> list[Action]:
    return plan(wish, replicas, now=NOW, attempts=3, free_slots=room, environment=environment)


def course(strategy: Strategy, replicas: int = 3) -> list[tuple[int, int, int]]:
    """The numbers of old, draining and new replicas after each step of an update."""
    wish, crowd = updated(strategy, replicas), [replica(READY, 1) for _ in range(replicas)]
    seen = []
    for _ in range(20):
        crowd = [replace(each, state=READY) if each.state is STARTING else each for each in crowd]
        for action in (actions := planned(wish, crowd)):
            if isinstance(action, Start):
                crowd.append(replica(STARTING, 2))
            elif isinstance(action, Drain):
                crowd = [replace(each, state=DRAINING) if each.id == action.replica_id else each for each in crowd]
        old = sum(each.revision.number == 1 and each.state is READY for each in crowd)
        draining = sum(each.state is DRAINING for each in crowd)
        seen.append((old, draining, len(crowd) - old - draining))
        if not actions and not draining:
            return seen
        crowd = [each for each in crowd if each.state is not DRAINING]
    raise AssertionError(f"it does not end: {seen}")


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        (Strategy.ROLLING_UPDATE, [(3, 0, 1), (2, 1, 2), (1, 1, 3), (0, 1, 3), (0, 0, 3)]),
        (Strategy.RECREATE, [(0, 3, 0), (0, 0, 3), (0, 0, 3)]),
        (
            Strategy.RAMPED_SLOW_ROLLOUT,
            [(3, 0, 1), (2, 1, 1), (2, 0, 2), (1, 1, 2), (1, 0, 3), (0, 1, 3), (0, 0, 3)],
        ),
        (Strategy.BEST_EFFORT, [(3, 0, 3), (0, 3, 3), (0, 0, 3)]),
    ],
)
def test_each_strategy_takes_its_own_course(strategy: Strategy, steps: list[tuple[int, int, int]]) -> None:
    assert course(strategy) == steps


@pytest.mark.parametrize("strategy", Strategy)
def test_a_new_model_starts_in_the_same_way_whatever_its_strategy(strategy: Strategy) -> None:
    assert planned(updated(strategy, last_stable=None), []) == [Start()] * 3


def test_recreate_starts_nothing_while_an_old_replica_may_have_a_process() -> None:
    wish = updated(Strategy.RECREATE)
    ready, starting, draining = replica(READY, 1), replica(STARTING, 1), replica(DRAINING, 1)
    assert planned(wish, [ready, starting, draining]) == [Drain(ready.id), Stop(starting.id)]
    assert planned(wish, [draining]) == []
    assert planned(wish, []) == [Start()] * 3


def test_recreate_ends_nothing_before_the_new_environment_is_there() -> None:
    wish, old = updated(Strategy.RECREATE), [replica(READY, 1) for _ in range(3)]
    assert needs_start(wish, old, now=NOW, attempts=3)
    assert planned(wish, old, environment=EnvironmentState.PREPARING) == []
    assert planned(wish, old, environment=EnvironmentState.FAILED) == [CountFailedEnvironment()]
    assert planned(replace(wish, failures=1, retry_at=NOW + 5), old) == [], "nor while the next attempt waits"
    assert len(planned(wish, old)) == 3


def test_recreate_keeps_the_new_replicas_when_one_of_them_fails() -> None:
    wish = updated(Strategy.RECREATE, last_stable=revision(2, strategy=Strategy.RECREATE))
    assert planned(wish, [replica(READY, 2), replica(READY, 2)]) == [Start()]


def test_recreate_needs_no_room_beside_the_old_replicas() -> None:
    wish, old = updated(Strategy.RECREATE), [replica(READY, 1) for _ in range(3)]
    assert planned(wish, old, room=0) == [Drain(each.id) for each in old]
    assert planned(wish, [], room=2) == [Start()] * 2


def test_a_ramp_waits_for_the_new_replica_and_then_for_the_end_of_an_old_one() -> None:
    wish, (first, second) = updated(Strategy.RAMPED_SLOW_ROLLOUT, 2), (replica(READY, 1), replica(READY, 1))
    new = replica(READY, 2)
    assert planned(wish, [first, second, replace(new, state=STARTING)]) == []
    assert planned(wish, [first, second, new]) == [Drain(first.id)]
    assert planned(wish, [replace(first, state=DRAINING), second, new]) == []
    assert planned(wish, [second, new]) == [Start()]
    assert planned(wish, [replica(READY, 1), replica(READY, 1), replica(READY, 1)])[1:] == [], "it is scaled down first"


def test_a_ramp_where_nothing_serves_hurries() -> None:
    assert planned(updated(Strategy.RAMPED_SLOW_ROLLOUT), [replica(DRAINING, 1)]) == [Start()] * 3


def test_best_effort_starts_as_many_as_there_is_room_for_and_ends_an_old_one_for_each_that_is_ready() -> None:
    wish, old = updated(Strategy.BEST_EFFORT), [replica(READY, 1) for _ in range(3)]
    assert planned(wish, old, room=2) == [Start()] * 2
    crowd = [*old, replica(READY, 2), replica(STARTING, 2)]
    assert planned(wish, crowd, room=0) == [Drain(old[0].id)]
    assert planned(wish, [*old, replica(STARTING, 2)], room=0) == [], "one is on its way"
    assert planned(wish, old, room=0) == [Drain(old[0].id)], "there is no other way"


def test_best_effort_tries_a_single_replica_after_a_failure() -> None:
    wish, old = updated(Strategy.BEST_EFFORT, failures=1, retry_at=NOW), [replica(READY, 1) for _ in range(3)]
    assert planned(wish, old) == [Start()]
    assert planned(wish, [*old, replica(STARTING, 2)]) == []


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    made = Stage(tmp_path, SlowLauncher(looks=2), gpus=4)
    yield made
    made.store.close()


def alive(stage: Stage) -> int:
    return sum(each.state.alive for each in stage.replicas())


@pytest.mark.parametrize(
    ("millicores", "gpus", "most"),
    [
        (10**6, 0, 6),  # as many as are wanted beside as many
        (500, 0, 5),
        (300, 0, 4),  # one more than is wanted, as in every update
        (10**6, 1, 4),
    ],
)
async def test_best_effort_takes_the_room_that_there_is(stage: Stage, millicores: int, gpus: int, most: int) -> None:
    """Each replica asks for 100 millicores; there are four GPUs."""
    stage.capacity = Capacity(replace(stage.capacity.limit, cpu_millicores=millicores))
    stage.supervisor = stage.made()
    await stage.lead()
    first, second = (revision(number, gpus=gpus, strategy=Strategy.BEST_EFFORT) for number in (1, 2))
    stage.wish(replicas=3, target=first)
    await stage.until(lambda: stage.rests(3, 1))
    stage.wish(target=second)
    seen = []

    def served() -> bool:
        seen.append(alive(stage))
        return stage.ready() >= 3

    await stage.until(lambda: stage.rests(3, 2), always=served)
    assert max(seen) == most
    assert await stage.honest()


@pytest.mark.parametrize("strategy", Strategy)
async def test_each_strategy_comes_to_its_end_and_back_where_the_new_revision_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: Strategy
) -> None:
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    stage = Stage(tmp_path, DyingLauncher("suoke/echo:2.0.0"))
    await stage.lead()
    stage.wish(replicas=2, target=revision(1, strategy=strategy))
    await stage.until(lambda: stage.rests(2, 1))
    stage.wish(target=revision(2, strategy=strategy))
    least = 0 if strategy is Strategy.RECREATE else 2
    await stage.until(
        lambda: stage.told().rolled_back_from == "2.0.0" and stage.rests(2, 1), lambda: stage.ready() >= least
    )
    assert stage.told().target.config.strategy is strategy
    stage.wish(target=revision(3, strategy=strategy))
    await stage.until(lambda: stage.rests(2, 3), lambda: stage.ready() >= least)
    assert await stage.honest()
    stage.store.close()
