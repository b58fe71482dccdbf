"""The reconciler with an engine that is a double: what it orders, records, gives up, and leaves when it is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from management.backends.engine import EnginePhase, EngineSpec
from management.control.engines.apply_queue import MAX_ATTEMPTS, NOT_KEPT
from management.domain.records import Deletion, ReplicaState, Status, status_of
from tests.doubles.engine import EngineStage, FailingEngine, FakeEngine, ForgetfulEngine, PickyEngine
from tests.doubles.management import revision
from tests.doubles.stage import Death, HandClock
from tests.support.running.small_states import every_step

HELD = 2e9
"""A Unix time that the tests do not come to."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[EngineStage]:
    made = EngineStage(tmp_path)
    await made.lead()
    yield made
    await made.reconciler.close(stop_replicas=True)
    made.store.close()


async def test_a_wish_becomes_an_order_and_the_rows_follow_the_engine(stage: EngineStage) -> None:
    stage.wish(replicas=2, autoscaling_paused_until=HELD)
    await stage.until(lambda: stage.rests(2, 1))
    assert {replica.address for replica in stage.replicas()} == {"https://echo.example"}
    assert len(stage.engine.applied) == 1
    stage.wish(replicas=1, autoscaling_paused_until=HELD)
    await stage.until(lambda: stage.rests(1, 1))
    stage.wish(target=revision(2))
    await stage.until(lambda: stage.rests(1, 2), always=lambda: stage.ready() >= 1)
    assert stage.told().is_stable
    assert stage.engine.made == ["echo"]


async def test_what_is_stopped_is_halted_and_starts_again(stage: EngineStage) -> None:
    stage.wish()
    await stage.until(lambda: stage.rests(1, 1))
    stage.wish(replicas=0)
    await stage.until(lambda: stage.standing() is EnginePhase.STOPPED and not stage.replicas())
    assert status_of(stage.told(), stage.replicas()) is Status.STOPPED
    stage.wish(replicas=1)
    await stage.until(lambda: stage.rests(1, 1))


async def test_a_stop_waits_for_requests_in_flight_and_not_for_ever(tmp_path: Path) -> None:
    stage = EngineStage(tmp_path, clock=HandClock(1e9), drain_seconds=30)
    await stage.lead()
    stage.wish()
    await stage.until(lambda: stage.rests(1, 1))
    stage.wish(replicas=0)
    for _ in range(5):
        await stage.look()
    assert stage.replicas()[0].state is ReplicaState.DRAINING
    assert stage.standing() is EnginePhase.RUNNING, "no worker can have told yet that nothing is in flight"
    stage.clock.at += 2.0
    await stage.until(lambda: stage.standing() is EnginePhase.STOPPED)
    stage.store.close()


async def test_a_failed_update_goes_back_to_what_served(tmp_path: Path) -> None:
    for engine, why in ((FailingEngine(), "it broke"), (PickyEngine(), "it is too large")):
        folder = tmp_path / type(engine).__name__
        folder.mkdir()
        stage = EngineStage(folder, engine)
        await stage.lead()
        stage.wish()
        await stage.until(lambda current=stage: current.rests(1, 1))  # type: ignore[misc]
        stage.wish(target=revision(2))
        await stage.until(lambda current=stage: current.rests(1, 1) and current.told().rolled_back_from == "2.0.0")  # type: ignore[misc]
        assert stage.told().rollback_reason == why
        assert stage.engine.kept["echo"].order.revision.number == 1
        stage.store.close()


async def test_an_engine_that_says_too_early_that_a_revision_runs_is_not_believed_at_once(tmp_path: Path) -> None:
    stage = EngineStage(tmp_path, FakeEngine(looks=0), clock=HandClock(1e9))
    await stage.lead()
    stage.wish()
    for _ in range(5):
        await stage.look()
    assert (stage.standing(), stage.ready()) == (EnginePhase.RUNNING, 0)
    stage.clock.at += stage.settings.replicas.engine_seconds
    await stage.until(lambda: stage.rests(1, 1))
    stage.wish(replicas=3, autoscaling_paused_until=HELD)
    await stage.until(lambda: stage.rests(3, 1))  # the same revision: nothing else can be meant
    stage.store.close()


async def test_a_first_order_that_is_refused_is_given_up_with_its_reason(tmp_path: Path) -> None:
    stage = EngineStage(tmp_path, PickyEngine())
    await stage.lead()
    stage.wish(target=revision(2))
    await stage.until(lambda: stage.told().failed)
    await stage.look()
    assert (stage.told().reason, status_of(stage.told(), stage.replicas())) == ("it is too large", Status.FAILED)
    assert [replica.reason for replica in stage.replicas()] == ["it is too large"]
    assert {event.action: event.details["reason"] for event in stage.events()}["given_up"] == "it is too large"
    stage.store.close()


async def test_an_engine_that_does_not_keep_its_orders_is_not_told_for_ever(tmp_path: Path) -> None:
    stage = EngineStage(tmp_path, ForgetfulEngine())
    await stage.lead()
    stage.wish()
    await stage.until(lambda: stage.told().failed)
    assert stage.told().reason == NOT_KEPT
    assert len(stage.engine.applied) == MAX_ATTEMPTS
    stage.store.close()


async def test_a_new_wish_interrupts_an_order_that_takes_long(tmp_path: Path) -> None:
    begun: list[EngineSpec] = []
    ended: list[str] = []

    class Pushing(FakeEngine):
        async def apply(self, order: EngineSpec) -> None:
            begun.append(order)
            if order.revision.number == 1:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(order.model_id)
            await super().apply(order)

    stage = EngineStage(tmp_path, Pushing())
    await stage.lead()
    stage.wish()
    await stage.look()
    stage.wish("other", target=revision(2))
    await stage.until(lambda: any(replica.state is ReplicaState.READY for replica in stage.replicas()))
    stage.wish(target=revision(2))
    await stage.until(lambda: stage.ready() == 2)
    assert [launch.revision.number for launch in begun if launch.model_id == "echo"] == [1, 2]
    stage.wish("third")
    await stage.look()
    stage.wish("third", deletion=Deletion.GRACEFUL)
    await stage.until(lambda: stage.found("third") is None)
    assert ended == ["echo", "third"]
    assert "third" not in stage.engine.kept
    stage.store.close()


async def test_an_engine_that_is_away_changes_nothing(stage: EngineStage) -> None:
    stage.wish()
    await stage.until(lambda: stage.rests(1, 1))
    stage.engine.away = True
    stage.wish(target=revision(2))
    for _ in range(5):
        assert await stage.step() == 1.0
        stage.reconciler.wake()
    assert stage.rests(1, 1)
    stage.engine.away = False
    await stage.until(lambda: stage.rests(1, 2))


async def test_a_worker_without_the_lease_tells_nobody_anything(stage: EngineStage) -> None:
    other = stage.made()
    stage.wish()
    other.wake()
    pause = await other.step()
    assert not other.leads
    assert pause == stage.settings.server.lease_seconds / 3
    assert stage.engine.applied == []
    await other.close(stop_replicas=True)


async def test_a_server_that_ends_leaves_what_the_engine_keeps(stage: EngineStage) -> None:
    stage.wish()
    await stage.until(lambda: stage.rests(1, 1))
    await stage.reconciler.close(stop_replicas=True)
    assert stage.standing() is EnginePhase.RUNNING
    assert stage.rests(1, 1)


async def test_looks_are_made_when_it_is_time_and_when_somebody_says_so(tmp_path: Path) -> None:
    stage = EngineStage(tmp_path, clock=HandClock(1e9))
    looks: list[str] = []
    stage.engine.watch = lambda step: looks.append(step) if step == "before observe" else None
    await stage.step()
    assert await stage.step() == stage.settings.replicas.engine_seconds
    assert len(looks) == 1
    stage.reconciler.probe_now("r")
    await stage.step()
    assert len(looks) == 2
    stage.clock.at += stage.settings.replicas.engine_seconds
    await stage.step()
    assert len(looks) == 3
    stage.store.close()


SCENES: dict[str, tuple[dict[str, Any], int, int, EnginePhase]] = {
    "deploy": ({"replicas": 2}, 1, 2, EnginePhase.RUNNING),
    "scale up": ({"replicas": 3}, 1, 3, EnginePhase.RUNNING),
    "scale down": ({"replicas": 1}, 1, 1, EnginePhase.RUNNING),
    "stop": ({"replicas": 0}, 1, 0, EnginePhase.STOPPED),
    "update": ({"target": revision(2)}, 2, 2, EnginePhase.RUNNING),
    "delete": ({"deletion": Deletion.GRACEFUL}, 1, 0, EnginePhase.ABSENT),
    "force": ({"deletion": Deletion.FORCED}, 1, 0, EnginePhase.ABSENT),
}
"""The new wish; the revision and the number of those that serve in the end; how it stands on the engine then."""


@every_step
@pytest.mark.parametrize("scene", SCENES)
async def test_a_kill_at_any_step_leaves_nothing_that_nobody_knows_and_makes_nothing_twice(
    scene: str, stride: int, tmp_path: Path
) -> None:
    changes, number, replicas, standing = SCENES[scene]
    stage = EngineStage(tmp_path)

    def over() -> bool:
        found = stage.found()
        rests = stage.rests(replicas, number) and (found is None or found.deletion is None)
        return rests and stage.standing() is standing

    await stage.lead()
    for steps in range(0, 200, stride):
        if scene != "deploy":
            stage.wish(replicas=2, autoscaling_paused_until=HELD)
            await stage.until(lambda: stage.rests(2, 1))
        stage.wish(autoscaling_paused_until=HELD, **changes)
        stage.engine.watch = stage.store.watch = death = Death(steps)
        try:
            await stage.until(over)
        except asyncio.CancelledError:
            assert death.came
        await stage.succeed()
        await stage.until(over)
        assert stage.engine.made == ["echo"], steps
        with stage.store.writing() as session:
            for deployment in session.deployments.all():
                session.deployments.remove(deployment.id)
        await stage.look()
        assert stage.engine.kept == {}, "what no record knows is ended"
        stage.engine.made.clear()
        if not death.came:
            assert steps > 5
            stage.store.close()
            return
    raise AssertionError("it takes too many steps")
