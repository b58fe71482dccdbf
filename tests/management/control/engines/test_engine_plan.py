"""Steering a deployment that an engine keeps: some stories, and every small state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement, product
from typing import Any

import pytest

from management.backends.engine import NOTHING_THERE, AppliedSpec, EnginePhase, EngineStatus
from management.control import evaluation
from management.control.engines.engine_plan import (
    STOPPED_ELSEWHERE,
    AdoptReplicas,
    Apply,
    ChangeState,
    Delete,
    EngineAction,
    MarkStable,
    RecordStarting,
    Snapshot,
    Suspend,
    plan_engine,
    spec_of,
)
from management.control.evaluation import MarkFailed, RemoveRecord, RollBack
from management.domain.records import TRANSITIONS, Deletion, Deployment, Replica, ReplicaState, Scaling
from tests.doubles.management import deployment, replica, revision
from tests.support.running.small_states import every_state, some

HERE = "https://echo.example"
NOW = 1000.0
STARTING, READY, SILENT, DRAINING = (
    ReplicaState.STARTING,
    ReplicaState.READY,
    ReplicaState.UNRESPONSIVE,
    ReplicaState.DRAINING,
)
TOLD = (Apply, Suspend, Delete, RemoveRecord)
"""What leaves the records: one of them at most in a look."""


def wish(replicas: int = 1, number: int = 2, *, scaling: Scaling | None = None, **changes: Any) -> Deployment:
    wanted = revision(number)
    wanted = replace(wanted, config=replace(wanted.config, scaling=scaling or Scaling(1, 4)))
    return replace(deployment(target=wanted, replicas=replicas), **changes)


def row(state: ReplicaState, number: int = 2) -> Replica:
    return replica(state, number, address="" if state is STARTING else HERE)


def sight(deployment: Deployment, standing: EnginePhase, *, applied: bool | None = True, **told: Any) -> Snapshot:
    order = spec_of(deployment, NOW)
    mark = None if applied is None else order.mark if applied else AppliedSpec(deployment.id, 1, 9, 9)
    own = {"idle", "lasting"} & told.keys()
    others = {name: told[name] for name in told.keys() - own}
    return Snapshot(
        EngineStatus(standing, "echo", mark, address=HERE, **others), order, **{name: told[name] for name in own}
    )


def moved(rows: Sequence[Replica], state: ReplicaState, reason: str = "") -> ChangeState:
    return ChangeState(tuple(row.id for row in rows), state, reason)


def test_what_is_not_there_is_ordered_and_awaited() -> None:
    deployment = wish(scaling=Scaling(2, 4))
    assert plan_engine(deployment, [], replace(sight(deployment, EnginePhase.PENDING), status=NOTHING_THERE)) == [
        Apply(),
        RecordStarting(2),
    ]


def test_an_order_that_is_held_is_not_given_again() -> None:
    deployment = wish()
    assert plan_engine(deployment, [row(STARTING)], sight(deployment, EnginePhase.PENDING)) == []


def test_a_number_that_somebody_chose_is_kept_for_a_while_and_then_the_limits() -> None:
    deployment = wish(3, autoscaling_paused_until=NOW + 1)
    assert (spec_of(deployment, NOW).least, spec_of(deployment, NOW).most) == (3, 3)
    assert (spec_of(deployment, NOW + 2).least, spec_of(deployment, NOW + 2).most) == (1, 4)


def test_while_an_update_rolls_out_the_old_rows_serve_on_and_then_they_go() -> None:
    deployment, old = wish(last_stable=revision(1)), row(READY, 1)
    assert plan_engine(deployment, [old], sight(deployment, EnginePhase.RUNNING, applied=False, ready=1)) == [
        Apply(),
        RecordStarting(1),
    ]
    new = row(STARTING)
    assert plan_engine(deployment, [old, new], sight(deployment, EnginePhase.PENDING, ready=1)) == []
    steps = plan_engine(deployment, [old, new], sight(deployment, EnginePhase.RUNNING, ready=1))
    assert steps == [moved([old], ReplicaState.GONE), moved([new], READY), MarkStable()]


def test_a_failed_update_goes_back_and_a_failed_first_start_is_given_up() -> None:
    update, first = wish(last_stable=revision(1)), wish()
    why = "image-build-failed"
    assert plan_engine(update, [row(READY, 1), row(STARTING)], sight(update, EnginePhase.FAILED, reason=why)) == [
        RollBack("image-build-failed")
    ]
    assert plan_engine(first, [row(STARTING)], sight(first, EnginePhase.FAILED, reason=why)) == [
        MarkFailed("image-build-failed")
    ]


def test_what_was_given_up_is_ordered_anew_when_the_wish_is_and_taken_up_when_it_serves_after_all() -> None:
    anew, given_up = wish(), wish(failed=True)
    assert plan_engine(anew, [], sight(anew, EnginePhase.FAILED)) == [Apply(), RecordStarting(1)]
    assert plan_engine(given_up, [], sight(given_up, EnginePhase.FAILED)) == []
    assert plan_engine(given_up, [], sight(given_up, EnginePhase.RUNNING, ready=1)) == [MarkStable()]


@pytest.mark.parametrize("standing", [EnginePhase.ENDING, EnginePhase.STOPPED])
def test_what_somebody_else_ends_is_not_started_against_them(standing: EnginePhase) -> None:
    deployment = wish(last_stable=revision(2))
    assert plan_engine(deployment, [row(READY)], sight(deployment, standing)) == [MarkFailed(STOPPED_ELSEWHERE)]


def test_what_somebody_else_deleted_is_made_again() -> None:
    deployment, lost = wish(last_stable=revision(2)), row(READY)
    seen = replace(sight(deployment, EnginePhase.PENDING), status=NOTHING_THERE)
    assert [type(step) for step in plan_engine(deployment, [lost], seen)] == [ChangeState, Apply, RecordStarting]


def test_replicas_that_do_not_answer_get_no_requests_until_they_do() -> None:
    deployment, rows = wish(2, last_stable=revision(2)), [row(READY), row(READY)]
    assert plan_engine(deployment, rows, sight(deployment, EnginePhase.UNHEALTHY, ready=1)) == [moved(rows[1:], SILENT)]
    rows = [rows[0], replace(rows[1], state=SILENT)]
    assert plan_engine(deployment, rows, sight(deployment, EnginePhase.RUNNING, ready=2))[0] == moved(rows[1:], READY)
    assert plan_engine(deployment, rows[1:], sight(deployment, EnginePhase.UNHEALTHY, ready=0, lasting=True)) == [
        MarkFailed("")
    ]


def test_an_update_that_stays_unhealthy_goes_back_though_what_served_before_answers() -> None:
    deployment, rows = wish(last_stable=revision(1)), [row(READY, 1), row(STARTING)]
    assert plan_engine(deployment, rows, sight(deployment, EnginePhase.UNHEALTHY, ready=1)) == []
    assert plan_engine(deployment, rows, sight(deployment, EnginePhase.UNHEALTHY, ready=1, lasting=True)) == [
        RollBack("")
    ]


def test_the_engine_s_own_number_is_followed() -> None:
    deployment = wish(last_stable=revision(2))
    assert plan_engine(deployment, [row(READY)], sight(deployment, EnginePhase.RUNNING, ready=3)) == [
        RecordStarting(2),
        AdoptReplicas(3),
    ]


def test_what_was_scaled_to_zero_there_can_be_asked() -> None:
    deployment, rows = wish(2, scaling=Scaling(0, 4), last_stable=revision(2)), [row(READY), row(READY)]
    assert plan_engine(deployment, rows, sight(deployment, EnginePhase.RUNNING, ready=0)) == [
        moved(rows[1:], ReplicaState.GONE)
    ]


def test_a_model_is_stopped_when_its_requests_are_answered() -> None:
    deployment, serving = wish(0), row(READY)
    assert plan_engine(deployment, [serving], sight(deployment, EnginePhase.RUNNING)) == [moved([serving], DRAINING)]
    drains = replace(serving, state=DRAINING)
    assert plan_engine(deployment, [drains], sight(deployment, EnginePhase.RUNNING, idle=False)) == []
    assert plan_engine(deployment, [drains], sight(deployment, EnginePhase.RUNNING)) == [Suspend()]
    assert plan_engine(deployment, [drains], sight(deployment, EnginePhase.ENDING)) == [
        moved([drains], ReplicaState.GONE)
    ]


def test_a_deletion_is_forgotten_when_nothing_is_there() -> None:
    deployment, serving = wish(deletion=Deletion.FORCED), row(READY)
    assert plan_engine(deployment, [serving], sight(deployment, EnginePhase.RUNNING)) == [
        moved([serving], ReplicaState.GONE),
        Delete(force=True),
    ]
    assert plan_engine(deployment, [], sight(deployment, EnginePhase.ENDING)) == [Delete(force=True)]
    assert plan_engine(deployment, [], replace(sight(deployment, EnginePhase.PENDING), status=NOTHING_THERE)) == [
        RemoveRecord()
    ]


# Every small state


@dataclass
class World:
    """The records, changed as the steps say, under a look that stays what it is."""

    deployment: Deployment
    rows: list[Replica]
    condition: EngineStatus
    idle: bool
    lasting: bool
    erased: bool = False
    steps: list[EngineAction] = field(default_factory=list)

    def look(self) -> None:
        seen = Snapshot(self.condition, spec_of(self.deployment, NOW), self.idle, self.lasting)
        self.steps = plan_engine(self.deployment, self.rows, seen)
        self.check(seen)
        for step in self.steps:
            self.follow(step)
        self.rows = [row for row in self.rows if row.state.alive]

    def follow(self, step: EngineAction) -> None:
        deployment = self.deployment
        match step:
            case ChangeState(ids, state):
                self.rows = [replace(row, state=state) if row.id in ids else row for row in self.rows]
            case RecordStarting(number):
                self.rows += [replica(STARTING, deployment.target.number) for _ in range(number)]
            case MarkStable():
                self.deployment = replace(deployment, last_stable=deployment.target, failed=False, reason="")
            case MarkFailed():
                self.deployment = evaluation.marked_failed(deployment)
            case RollBack():
                self.deployment = evaluation.rolled_back(deployment)
            case AdoptReplicas(number):
                self.deployment = replace(deployment, replicas=number)
            case RemoveRecord():
                self.erased = True

    def check(self, seen: Snapshot) -> None:
        """What must hold of every single look."""
        deployment, standing = self.deployment, seen.status.phase
        told = [step for step in self.steps if isinstance(step, TOLD)]
        moves = [
            (replica_id, step.state)
            for step in self.steps
            if isinstance(step, ChangeState)
            for replica_id in step.replica_ids
        ]
        states = {row.id: row.state for row in self.rows}
        assert len(told) <= 1
        assert len(moves) == len(dict(moves)), "each row is moved once"
        assert all(state in TRANSITIONS[states[replica_id]] for replica_id, state in moves)
        after = {**states, **dict(moves)}
        for step in told:
            wanted = not deployment.deletion and deployment.replicas > 0
            assert isinstance(step, Apply) == (wanted and not deployment.failed), step
            assert isinstance(step, Delete | RemoveRecord) == bool(deployment.deletion)
            if isinstance(step, Suspend) or (isinstance(step, Delete) and not step.force):
                assert not any(state.active for state in after.values())
                assert seen.idle or not standing.serves or DRAINING not in after.values()
            if isinstance(step, RemoveRecord):
                assert standing is EnginePhase.ABSENT
                assert not self.rows
        promoted = [state for replica_id, state in moves if state is READY]
        assert not promoted or (seen.applied and (standing is EnginePhase.RUNNING or deployment.is_stable))


def worlds() -> Iterator[World]:
    states = [
        (STARTING, 1),
        (READY, 1),
        (SILENT, 1),
        (DRAINING, 1),
        (STARTING, 2),
        (READY, 2),
        (SILENT, 2),
        (DRAINING, 2),
    ]
    rows = [every for size in range(3) for every in combinations_with_replacement(states, size)]
    kept = product((0, 2), (None,), (False, True), (None, 1, 2), (None, NOW + 1))
    deleted = product((2,), Deletion, (False,), (None,), (None,))
    for (count, removal, gave_up, served, held), states_of in product((*kept, *deleted), rows):
        told = None if served is None else revision(served)
        deployment = wish(count, deletion=removal, failed=gave_up, last_stable=told, autoscaling_paused_until=held)
        order = spec_of(deployment, NOW)
        for standing, ready in product(EnginePhase, (None, 0, 2)):
            marks = (
                (None,) if standing is EnginePhase.ABSENT else (None, order.mark, AppliedSpec(deployment.id, 1, 9, 9))
            )
            for mark in marks:
                condition = EngineStatus(standing, "echo", mark, ready, HERE)
                for lasting in (False, True) if standing is EnginePhase.UNHEALTHY else (False,):
                    yield World(deployment, [row(*each) for each in states_of], condition, True, lasting)
        yield World(
            deployment,
            [row(*each) for each in states_of],
            EngineStatus(EnginePhase.RUNNING, "echo", order.mark),
            False,
            False,
        )


@every_state
def test_from_every_small_state_the_records_come_to_rest_as_the_engine_says(stride: int) -> None:
    for world in some(worlds(), stride):
        before = (world.deployment, [(row.state, row.revision.number) for row in world.rows], world.condition)
        for _ in range(6):
            world.look()
            if world.erased or not [step for step in world.steps if not isinstance(step, TOLD)]:
                break
        else:
            raise AssertionError((before, world.steps))
        at_rest(world, before)


def at_rest(world: World, before: object) -> None:
    deployment, condition = world.deployment, world.condition
    applied = condition.mark == spec_of(deployment, NOW).mark
    ready = [row for row in world.rows if row.state is READY]
    if not condition.phase.serves:
        assert not ready, before
    if deployment.deletion:
        assert world.erased == (condition.phase is EnginePhase.ABSENT), before
        assert not ready, before
    elif deployment.replicas and condition.phase is EnginePhase.RUNNING and applied:
        assert deployment.is_stable, before
        assert not deployment.failed, before
        assert {row.revision.number for row in ready} == {deployment.target.number}, before
        least = spec_of(deployment, NOW).least
        assert len(ready) == max(1, least if condition.ready is None else condition.ready), before
        assert len(world.rows) == max(len(ready), least), before
    elif deployment.replicas and condition.phase is EnginePhase.FAILED and applied:
        assert deployment.failed or any(isinstance(step, Apply) for step in world.steps), before
    elif (
        deployment.replicas
        and not deployment.failed
        and condition.mark is not None
        and condition.phase is not EnginePhase.ENDING
    ):
        assert applied or any(isinstance(step, Apply) for step in world.steps), before
