"""The supervisor, over the real store and launchers that are doubles: wishes come true, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from management.backends.launcher import Launch, Observation, Phase
from management.control.journal import LeaseLost
from management.control.leader_loop import BACKEND_RETRY_SECONDS
from management.control.replicas import prober, supervisor, usage
from management.domain.records import NOTHING, Deletion, ReplicaState, Status, status_of
from management.store import tables
from tests.doubles.management import (
    AwayLauncher,
    BadLauncher,
    DyingLauncher,
    FakeLauncher,
    NeverReadyLauncher,
    SlowLauncher,
    SlowlyMeasuredLauncher,
    deployment,
    revision,
)
from tests.doubles.stage import Stage

ECHO_2 = "suoke/echo:2.0.0"


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stage]]:
    """Makes stages, on which every look is at everything."""
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    made: list[Stage] = []

    def make(launcher: FakeLauncher | None = None, **changes: Any) -> Stage:
        made.append(Stage(tmp_path, launcher, **changes))
        return made[-1]

    yield make
    for replica in made:
        replica.store.close()


async def serving(stage: Stage, replicas: int = 1, **changes: Any) -> None:
    """Revision 1 serves with so many replicas."""
    await stage.lead()
    stage.wish(replicas=replicas, **changes)
    await stage.until(lambda: stage.rests(replicas, 1))


async def test_a_deployment_becomes_ready(staged: Callable[..., Stage]) -> None:
    stage = staged(SlowLauncher(looks=3))
    await serving(stage, 2)
    deployment = stage.told()
    assert deployment.last_stable == revision(1)
    assert status_of(deployment, stage.replicas()) is Status.RUNNING
    assert {replica.address for replica in stage.replicas()} == {f"unix:/{replica.id}" for replica in stage.replicas()}
    assert await stage.honest()
    assert not await stage.supervisor.take_turn(), "nothing is on its way"


async def test_a_model_is_scaled_up_and_down_and_stopped_and_started(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage)
    for number in (3, 1, 0, 2):
        stage.wish(replicas=number)
        await stage.until(lambda wanted=number: stage.rests(wanted, 1))  # type: ignore[misc]
        assert await stage.honest()


async def test_an_update_never_has_fewer_ready_replicas(staged: Callable[..., Stage]) -> None:
    stage = staged(SlowLauncher(looks=2))
    await serving(stage, 3)
    stage.wish(target=revision(2))
    await stage.until(lambda: stage.rests(3, 2), always=lambda: stage.ready() >= 3)
    assert stage.told().last_stable == revision(2)
    assert await stage.honest()


@pytest.mark.parametrize(
    ("launcher", "reason"),
    [
        (NeverReadyLauncher(ECHO_2), "it was not ready within 0.001 s"),
        (DyingLauncher(ECHO_2), "it was killed"),
        (BadLauncher(ECHO_2), "there is no such image"),
    ],
)
async def test_an_update_that_fails_leaves_the_old_one_serving_and_says_why(
    staged: Callable[..., Stage], launcher: FakeLauncher, reason: str
) -> None:
    stage = staged(launcher, start_seconds=0.001)
    await serving(stage, 2)
    before = {replica.id for replica in stage.replicas()}
    stage.wish(target=revision(2))
    await stage.until(
        lambda: bool(stage.told().rolled_back_from) and stage.rests(2, 1), always=lambda: stage.ready(1) >= 2
    )
    deployment = stage.told()
    assert (
        deployment.target,
        deployment.rolled_back_from,
        deployment.rollback_reason,
        deployment.revision_counter,
    ) == (
        revision(1),
        "2.0.0",
        reason,
        2,
    )
    assert {replica.id for replica in stage.replicas() if replica.state.alive} == before
    assert "rolled_back" in {event.action for event in stage.events()}
    assert await stage.honest()


@pytest.mark.parametrize("kind", [NeverReadyLauncher, DyingLauncher, BadLauncher])
async def test_what_never_becomes_ready_is_given_up_with_its_reason_and_log(
    staged: Callable[..., Stage], kind: type[NeverReadyLauncher]
) -> None:
    stage = staged(kind("suoke/echo:1.0.0"), start_seconds=0.001, start_attempts=2)
    await stage.lead()
    stage.wish()
    await stage.until(lambda: stage.told().failed)
    for _ in range(3):
        await stage.look()
    failed = stage.replicas()
    assert [failure.state for failure in failed] == [ReplicaState.FAILED] * 2
    assert status_of(stage.told(), failed) is Status.FAILED
    assert all(failure.reason == stage.told().reason != "" for failure in failed)
    if kind is not BadLauncher:
        assert {failure.log_tail for failure in failed} == {"a line before\nits last words"}
    assert await stage.launcher.list_running() == []
    assert len(stage.launcher.begun) == (0 if kind is BadLauncher else 2)


async def test_what_was_given_up_is_tried_again_when_the_wish_changes(staged: Callable[..., Stage]) -> None:
    stage = staged(DyingLauncher("suoke/echo:1.0.0"))
    await stage.lead()
    stage.wish()
    await stage.until(lambda: stage.told().failed)
    stage.wish(target=revision(2))
    await stage.until(lambda: stage.rests(1, 2))


@pytest.mark.parametrize("removal", Deletion)
async def test_a_deleted_model_leaves_nothing_and_its_id_is_free(
    staged: Callable[..., Stage], removal: Deletion
) -> None:
    stage = staged()
    await serving(stage, 2)
    first = stage.told()
    stage.wish(deletion=removal)
    await stage.until(lambda: stage.found() is None)
    assert await stage.launcher.list_running() == []
    assert stage.launcher.phases == {}, "nothing of them is left on disk"
    stage.wish()
    await stage.until(lambda: stage.rests(1, 1))
    assert stage.told().id != first.id


async def test_a_replica_that_dies_is_replaced(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage, 2)
    victim = stage.replicas()[0].id
    stage.launcher.kill(victim)
    await stage.until(lambda: stage.ready() == 2, always=lambda: stage.ready() >= 1)
    assert len(stage.launcher.begun) == 3
    assert [replica.reason for replica in stage.replicas() if replica.id == victim] == ["it was killed"]


async def test_a_replica_that_falls_silent_is_ended_and_replaced(staged: Callable[..., Stage]) -> None:
    stage = staged(silence_seconds=1e-6)
    await serving(stage)
    victim = stage.replicas()[0].id
    stage.launcher.phases[victim] = Phase.UNRESPONSIVE
    await stage.until(lambda: stage.ready() == 1 and len(stage.launcher.begun) == 2)
    assert await stage.honest()


async def test_failed_replicas_that_are_forgotten_leave_nothing_on_disk(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage)
    for count in range(2, 9):
        stage.launcher.kill(stage.launcher.begun[-1])
        await stage.until(lambda wanted=count: stage.ready() == 1 and len(stage.launcher.begun) == wanted)  # type: ignore[misc]
    assert set(stage.launcher.phases) == {replica.id for replica in stage.replicas()}


async def test_what_no_record_knows_is_ended_by_a_new_holder_of_the_lease(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage)
    stage.launcher.phases["orphan"] = Phase.READY
    await stage.succeed()
    await stage.look()
    assert await stage.honest()
    assert stage.ready() == 1


async def test_who_lost_the_lease_writes_and_starts_nothing(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage)
    with stage.store.writing() as session:
        session.connection.execute(tables.leases.update().values(held_until=0.0))
        assert session.leases.take("another", time.time(), 1000)
    stage.wish(replicas=3)
    before = stage.told(), stage.replicas()
    with pytest.raises(LeaseLost):
        await stage.look()
    assert (stage.told(), stage.replicas()) == before
    assert len(stage.launcher.begun) == 1


async def test_a_server_that_ends_in_good_order_leaves_the_wish_and_nothing_that_runs(
    staged: Callable[..., Stage],
) -> None:
    stage = staged()
    await serving(stage, 2)
    await stage.supervisor.close(stop_replicas=True)
    assert (stage.replicas(), stage.launcher.phases) == ([], {})
    await stage.succeed()
    await stage.until(lambda: stage.rests(2, 1))


async def test_a_server_that_keeps_its_replicas_finds_them_again(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage, 2)
    await stage.supervisor.close(stop_replicas=False)
    await stage.succeed()
    await stage.look()
    assert stage.rests(2, 1)
    assert len(stage.launcher.begun) == 2


async def test_no_gpu_is_ever_given_twice_and_an_update_without_a_free_one_still_serves(
    staged: Callable[..., Stage],
) -> None:
    stage = staged(SlowLauncher(looks=2), gpus=2)

    def exclusive() -> bool:
        taken = [gpu for replica in stage.replicas() if replica.state.alive for gpu in replica.gpus]
        return len(set(taken)) == len(taken) and set(taken) <= {0, 1}

    await stage.lead()
    stage.wish(replicas=2, target=revision(1, gpus=1))
    await stage.until(lambda: stage.rests(2, 1), exclusive)
    stage.wish(target=revision(2, gpus=1))
    await stage.until(lambda: stage.rests(2, 2), lambda: exclusive() and stage.ready() >= 1)
    assert {launch.gpus for launch in stage.launcher.launches.values()} == {(0,), (1,)}


async def test_what_replicas_use_is_measured_and_nobody_need_look_again_for_it(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SAMPLE_INTERVAL_SECONDS", 0.0)
    stage = staged()
    await serving(stage, 2)
    with stage.store.reading() as session:
        before = session.changes()
    await stage.until(
        lambda: all(replica.cpu_millicores > 0 and replica.memory_bytes == 7 for replica in stage.replicas())
    )
    with stage.store.reading() as session:
        assert session.changes() == before


async def test_a_measurement_that_hangs_holds_up_no_look_and_counts_when_it_comes(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SAMPLE_INTERVAL_SECONDS", 0.0)
    launcher = SlowlyMeasuredLauncher()
    stage = staged(launcher)
    async with asyncio.timeout(30):
        await serving(stage, 1)
        for number in (3, 1):
            stage.wish(replicas=number)
            await stage.until(lambda wanted=number: stage.rests(wanted, 1))  # type: ignore[misc]
    assert launcher.looks == 0, "the first measurement still hangs"
    launcher.measures.set()
    await stage.until(lambda: all(replica.cpu_millicores > 0 for replica in stage.replicas()))


async def test_deployments_do_not_mix(staged: Callable[..., Stage]) -> None:
    stage = staged(DyingLauncher(ECHO_2))
    await stage.lead()
    stage.wish("good", replicas=2)
    stage.wish("bad", target=revision(2))
    await stage.until(lambda: stage.told("bad").failed and stage.rests(2, 1))
    assert stage.told("good") == deployment("good", id=stage.told("good").id, replicas=2, last_stable=revision(1))


async def test_a_replica_that_cannot_be_looked_at_stays_what_it_is_and_keeps_nobody_from_ending_it(
    staged: Callable[..., Stage],
) -> None:
    stage = staged()
    await serving(stage, 2)
    observe, spoilt = stage.launcher.observe, stage.replicas()[0].id

    async def broken(replica_id: str) -> Observation:
        if replica_id == spoilt and stage.launcher.phases.get(spoilt) is Phase.READY:
            raise ValueError("this one")
        return await observe(replica_id)

    stage.launcher.observe = broken  # type: ignore[method-assign]
    stage.wish(replicas=3)
    await stage.until(lambda: stage.ready() == 3)
    for _ in range(20):
        await stage.look()
    assert stage.rests(3, 1)
    assert spoilt in {replica.id for replica in stage.replicas()}
    stage.wish(deletion=Deletion.GRACEFUL)
    await stage.until(lambda: stage.found() is None)
    assert await stage.launcher.list_running() == []


async def test_an_orphan_is_ended_also_when_its_worker_wakes_up_late(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ORPHAN_INTERVAL_SECONDS", 0.0)
    stage = staged()
    await serving(stage)
    await stage.launcher.start(Launch("late", "echo", ECHO_2, NOTHING))
    await stage.lead()
    assert list(stage.launcher.phases) == [replica.id for replica in stage.replicas()]


async def test_a_look_that_writes_keeps_the_lease(staged: Callable[..., Stage]) -> None:
    stage = staged()
    await serving(stage)
    with stage.store.writing(counted=False) as session:
        session.connection.execute(tables.leases.update().values(held_until=time.time() + 1.0))
    stage.wish(replicas=2)
    await stage.look()
    with stage.store.reading() as session:
        lease = session.leases.get()
    assert lease is not None
    assert lease.held_until > time.time() + 100


async def test_while_the_backend_does_not_answer_nothing_is_concluded_and_afterwards_all_goes_on(
    staged: Callable[..., Stage],
) -> None:
    launcher = AwayLauncher()
    stage = staged(launcher)
    await serving(stage, 2)
    stage.wish(replicas=3)
    launcher.away = True
    for _ in range(5):
        assert await stage.step() >= BACKEND_RETRY_SECONDS
    assert stage.ready() == 2
    assert not stage.told().failures
    launcher.away = False
    await stage.until(lambda: stage.rests(3, 1))
    assert not [replica for replica in stage.replicas() if replica.state is ReplicaState.FAILED]
    assert await stage.honest()


async def test_a_wake_while_the_backend_is_away_is_one_attempt(staged: Callable[..., Stage]) -> None:
    launcher = AwayLauncher()
    stage = staged(launcher)
    await serving(stage, 1)
    await stage.supervisor.lease_taken()  # so that the next step asks the backend before its turn
    launcher.away = True
    stage.supervisor.wake()
    assert await stage.step() >= BACKEND_RETRY_SECONDS
    assert not stage.supervisor._awake.is_set(), "the loop would not pause before it tries again"


async def test_a_server_that_ends_while_its_backend_is_away_gives_its_lease_back(staged: Callable[..., Stage]) -> None:
    launcher = AwayLauncher()
    stage = staged(launcher)
    await serving(stage, 2)
    launcher.away = True
    await stage.supervisor.close(stop_replicas=True)
    with stage.store.reading() as session:
        assert session.leases.get() is None
